"""What a run found when it checked itself, in words."""

from statistics import median
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence

from allennlp.common.util import JsonDict

from allennlp_influence.influence.solver_config import WHY_DEFAULT
from allennlp_influence.report.wording import number, plural

# above these a number is no longer rounding (see `SelfChecks`), a sample no longer large enough
_LARGEST_ASYMMETRY = 1e-3
_LARGEST_DERIVATIVE_ERROR = 0.02
_LEAST_AGREEMENT_OF_SAMPLES = 0.95
_LEAST_AGREEMENT_WITH_FLOAT32 = 0.99
_CURVATURE_IS_IDLE = 0.99


class Check(NamedTuple):
    """One check: what was found, whether that is as it should be, and what it means."""

    name: str
    found: str
    fine: bool
    meaning: str


def checks_in_words(provenance: Mapping[str, Any], lines: Sequence[JsonDict]) -> List[Check]:
    """
    # Parameters

    provenance : `Mapping[str, Any]`
        Of a result directory.
    lines : `Sequence[JsonDict]`
        Of its explanations.jsonl.
    """
    checks = [_damping(provenance), _systems(provenance["solver"]["type"], lines)]
    found = provenance.get("self_checks")
    if not found:
        return checks
    asymmetry, error = found["asymmetry"], found["derivative_error"]
    checks += [
        Check(
            "Curvature products",
            f"symmetric to {number(asymmetry)}",
            asymmetry <= _LARGEST_ASYMMETRY,
            "rounding only" if asymmetry <= _LARGEST_ASYMMETRY else "more than rounding: they may be wrong",
        ),
        Check(
            "Derivatives of single examples",
            f"equal to differences of the loss to {number(error)}",
            error <= _LARGEST_DERIVATIVE_ERROR,
            "what a difference in single precision can tell"
            if error <= _LARGEST_DERIVATIVE_ERROR
            else "more than a difference's own error: they may be wrong",
        ),
    ]
    checks += filter(None, (_of_identity(found), _of_half(found), _of_float32(found)))
    return checks


def _damping(provenance: Mapping[str, Any]) -> Check:
    by = provenance["damping_chosen_by"]
    if by["by"] == "validate-influence":
        lds = by["lds"]
        meaning = (
            f"chosen for this model: a linear datamodeling score of {number(lds['mean'])} "
            f"({number(lds['low'])} to {number(lds['high'])})"
        )
    elif by["by"] == "default":
        meaning = (
            f"the default, which {WHY_DEFAULT}; `allennlp validate-influence` measures it for this model"
        )
    else:
        meaning = (
            "as configured; `allennlp validate-influence` measures which one predicts retraining best"
        )
    return Check("Which damping?", f"λ = {number(provenance['damping'], 3)}", True, meaning)


def _systems(solver: str, lines: Sequence[JsonDict]) -> Check:
    name = "Linear systems"
    if solver == "identity":
        return Check(name, "none", True, "the scores are plain gradient dot products")
    diagnoses = [line["diagnosis"] for line in lines]
    solved = sum(diagnosis["converged"] for diagnosis in diagnoses)
    residuals = [d["residual"] for d in diagnoses if d["residual"] is not None]
    worst = f", largest residual {number(max(residuals))}" if residuals else ", no residual measured"
    return Check(
        name,
        f"{solved:,} of {plural(len(lines), 'system')} solved{worst}",
        solved == len(lines),
        "every score is what its formula says"
        if solved == len(lines)
        else "ignore the scores of the predictions that are marked",
    )


def _of_identity(found: Mapping[str, Any]) -> Optional[Check]:
    agreements = found["rank_agreement_with_identity"]
    if not agreements:
        return None
    middle = median(agreements)
    idle = middle > _CURVATURE_IS_IDLE
    return Check(
        "Does curvature matter?",
        f"rank correlation with plain gradient dot products {number(middle, 3)}",
        True,
        "hardly: at this damping the scores are nearly gradient similarity"
        if idle
        else "yes: the scores are not mere gradient similarity",
    )


def _of_float32(found: Mapping[str, Any]) -> Optional[Check]:
    agreements = found["rank_agreement_with_float32"]
    if not agreements:
        return None
    worst = min(agreements)
    fine = worst >= _LEAST_AGREEMENT_WITH_FLOAT32
    return Check(
        "Precise enough?",
        f"rank correlation with float32 at least {number(worst, 3)}, by the curvature of a few examples",
        fine,
        "products of matrices are as precise as they need to be"
        if fine
        else "the ranks depend on rounding: leave out --matmul-precision",
    )


def _of_half(found: Mapping[str, Any]) -> Optional[Check]:
    agreements = found["rank_agreement_with_half_of_the_curvature"]
    if not agreements:
        return None
    worst = min(agreements)
    fine = worst >= _LEAST_AGREEMENT_OF_SAMPLES
    return Check(
        "Curvature of enough examples?",
        f"rank correlation with the scores by half as many at least {number(worst, 3)}",
        fine,
        "the sample is large enough" if fine else "the ranks depend on the sample: take more examples",
    )
