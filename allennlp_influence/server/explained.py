"""An influence explanation in JSON, as the page and other clients get it."""

from typing import List, Sequence

import numpy
from allennlp.common.util import JsonDict

from allennlp_influence.influence import InfluenceExplanation, InfluenceFunctions
from allennlp_influence.influence.explanation import TrainingInfluence
from allennlp_influence.report.wording import diagnosis_in_words

_BINS = 60


def influence_in_json(
    interpreter: InfluenceFunctions, explanation: InfluenceExplanation, seconds: float
) -> JsonDict:
    """
    `supporters` and `opponents` as in explanations.jsonl, the diagnosis in numbers and in words, and how the scores of
    all N training examples are distributed.
    """
    diagnosis = explanation.diagnosis
    numbers = {
        "residual": diagnosis.residual,
        "steps": diagnosis.steps,
        "converged": diagnosis.converged,
        "lambda_max": diagnosis.lambda_max,
        "lambda_min": diagnosis.lambda_min,
    }
    solver, damping = interpreter.solver_config["type"], interpreter.solver.damping
    return {
        "explained": explanation.explained,
        "solver": solver,
        "damping": damping,
        "normalisation": interpreter.normalisation,
        "num_train": len(explanation.scores),
        "supporters": _listed(interpreter, explanation.top_k),
        "opponents": _listed(interpreter, explanation.bottom_k),
        "distribution": _distribution(interpreter, explanation.scores),
        "diagnosis": {**numbers, "in_words": diagnosis_in_words(numbers, damping, solver)},
        "seconds": round(seconds, 3),
    }


def _listed(
    interpreter: InfluenceFunctions, influences: Sequence[TrainingInfluence]
) -> List[JsonDict]:
    return [
        {
            "rank": rank,
            "id": influence.id,
            "text": interpreter.examples[influence.position].text,
            "label": interpreter.examples[influence.position].label,
            "loss": influence.loss,
            "score": influence.score,
            "z": influence.z,
        }
        for rank, influence in enumerate(influences, start=1)
    ]


def _distribution(interpreter: InfluenceFunctions, scores: numpy.ndarray) -> JsonDict:
    """
    Counts by gold label in bins of the same width from `low` to `high`, of which one edge is zero; and the sums of the
    scores of either sign.
    """
    scores = scores.astype(numpy.float64)
    low, high = min(scores.min(), 0.0), max(scores.max(), 0.0)
    width = (high - low) / _BINS or 1.0
    first, last = int(numpy.floor(low / width)), max(int(numpy.ceil(high / width)), 1)
    edges = numpy.arange(first, last + 1) * width
    labels = numpy.asarray([str(example.label) for example in interpreter.examples])
    return {
        "low": edges[0],
        "high": edges[-1],
        "counts": {
            str(label): numpy.histogram(scores[labels == label], edges)[0].tolist()
            for label in numpy.unique(labels)
        },
        "mean": scores.mean(),
        "std": scores.std(),
        "supporting": scores.clip(min=0).sum(),
        "opposing": scores.clip(max=0).sum(),
    }
