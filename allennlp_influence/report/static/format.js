// Numbers as a person reads them; the same forms as in the terminal (wording.py).

const minus = (text) => text.replaceAll("-", "−");

/** A number to so many digits: 1234.5 as 1,234, 0.0351 as 0.035, 0.00035 as 3.5e−4. */
export function number(value, digits = 2) {
  const size = Math.abs(value);
  if (size >= 10 ** digits - 0.5 && size < 1e6) return minus(Math.round(value).toLocaleString("en"));
  if (size > 0 && (size < 1e-3 || size >= 10 ** digits)) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    return minus(`${Number(mantissa)}e${Number(exponent)}`);
  }
  return minus(String(Number(value.toPrecision(digits))));
}

/** A score with its sign: +1.23e−4. */
export function signed(value) {
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(2).split("e");
  return minus(`${value > 0 ? "+" : ""}${mantissa}e${Number(exponent)}`);
}

/** A z-score: +10.6. */
export function zValue(value) {
  return minus((value < 0 ? "" : "+") + value.toFixed(1));
}

/** A saliency: +0.10. */
export function saliency(value) {
  return value === 0 ? "0" : minus((value < 0 ? "" : "+") + value.toFixed(Math.abs(value) < 0.01 ? 4 : 2));
}

/** A share: 31 %, and never a rounded 0 or 100. */
export function percent(share) {
  if (share > 0 && share < 0.01) return "< 1 %";
  if (share > 0.99 && share < 1) return "> 99 %";
  return `${(100 * share).toFixed(0)} %`;
}

/** A probability: 0.97, and never a rounded 0 or 1. */
export function probability(value) {
  if (value > 0.999 && value < 1) return "> 0.999";
  if (value > 0 && value < 0.001) return "< 0.001";
  return value.toFixed(value > 0.99 || (value > 0 && value < 0.01) ? 3 : 2);
}

/** A change of a probability in percentage points: −0.42 pp. */
export function points(change) {
  const value = 100 * change;
  return `${value > 0 ? "+" : ""}${number(value)} pp`;
}

/** 1 prediction, 2 predictions. */
export function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}
