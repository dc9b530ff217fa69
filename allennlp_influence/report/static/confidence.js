// What a predicted change of the loss means for the probability of the explained label.

/**
 * The probability of a label after its loss has changed, to first order in its margin m = log p − log(1 − p):
 * a change ΔL of the loss is one of −ΔL / (1 − p) of the margin. Unlike p − pΔL it never leaves [0, 1].
 */
export function confidenceAfter(loss, change) {
  const doubt = -Math.expm1(-loss); // 1 − p, exact also where p is nearly 1
  if (doubt === 0) return 1;
  const margin = -loss - Math.log(doubt) - change / doubt;
  return 1 / (1 + Math.exp(-margin));
}

/** Its change; small ones without the rounding of a difference. */
export function changeOfConfidence(loss, change) {
  const doubt = -Math.expm1(-loss);
  if (Math.abs(change) < 1e-6 * doubt) return -Math.exp(-loss) * change;
  return confidenceAfter(loss, change) - Math.exp(-loss);
}
