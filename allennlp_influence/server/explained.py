"""Explanations in JSON, as the page and other clients get them."""

from typing import Any, List, Mapping, Sequence

import numpy
from allennlp.common.util import JsonDict

from allennlp_influence.influence import InfluenceExplanation, InfluenceFunctions
from allennlp_influence.influence.explanation import TrainingInfluence
from allennlp_influence.report.histogram import MASS_OF, histogram_by_class, mass_share
from allennlp_influence.report.page_data import rows_of_histograms, shares_below
from allennlp_influence.report.texts import scored_texts, visible
from allennlp_influence.report.wording import diagnosis_in_words


def texts_in_json(text: Mapping[str, str], words: Sequence[Mapping[str, Any]]) -> List[JsonDict]:
    """
    The words' scores laid over the texts, made `visible`: `parts` with a score or `None` each, and what was `unread`.
    """
    return [
        {
            "field": visible(scored.field),
            "parts": [[visible(part), score] for part, score in scored.parts],
            "unread": visible(scored.unread),
        }
        for scored in scored_texts(text, words)
    ]


class InfluenceInJson:
    """
    # Parameters

    interpreter : `InfluenceFunctions`
        Whose explanations they are; what is said of its training examples is computed once.
    """

    def __init__(self, interpreter: InfluenceFunctions) -> None:
        self._interpreter = interpreter
        self._names = interpreter.label_names
        self._classes = numpy.asarray(interpreter.training_labels)
        self._probabilities = numpy.exp(interpreter.training_log_probabilities)
        self._predicted = self._probabilities.argmax(1)
        self._percentiles = shares_below(interpreter.training_losses)
        own = [self._names[label] for label in interpreter.training_labels]
        self._rows, self._row_of_each = rows_of_histograms(own, self._names)

    def __call__(self, explanation: InfluenceExplanation, seconds: float) -> JsonDict:
        """
        `supporters` and `opponents` as in explanations.jsonl, with what the model makes of each; the diagnosis in
        numbers and in words; how the scores of all N training examples are distributed, see `histogram_by_class`; and the
        seconds that it took.
        """
        interpreter, diagnosis, scores = self._interpreter, explanation.diagnosis, explanation.scores
        solver, damping = interpreter.solver_config["type"], interpreter.solver.damping
        numbers = {
            "residual": diagnosis.residual,
            "steps": diagnosis.steps,
            "converged": diagnosis.converged,
            "lambda_max": diagnosis.lambda_max,
            "lambda_min": diagnosis.lambda_min,
        }
        mass = {"positive": mass_share(scores), "negative": mass_share(-scores)}
        return {
            "explained": explanation.explained,
            "solver": solver,
            "damping": damping,
            "normalisation": interpreter.normalisation,
            "num_train": len(scores),
            "supporters": self._listed(explanation.top_k),
            "opponents": self._listed(explanation.bottom_k),
            "distribution": {
                "rows": self._rows,
                **histogram_by_class(scores, self._row_of_each, len(self._rows)),
                "mean": float(scores.mean(dtype="float64")),
                "std": float(scores.std(dtype="float64")),
                "mass": {**mass, "of": min(MASS_OF, len(scores))},
            },
            "diagnosis": {**numbers, "in_words": diagnosis_in_words(numbers, damping, solver)},
            "seconds": round(seconds, 3),
        }

    def _listed(self, influences: Sequence[TrainingInfluence]) -> List[JsonDict]:
        return [self._example(rank, one) for rank, one in enumerate(influences, start=1)]

    def _example(self, rank: int, influence: TrainingInfluence) -> JsonDict:
        position = influence.position
        predicted = self._predicted[position]
        return {
            "rank": rank,
            "id": influence.id,
            "text": self._interpreter.examples[position].text,
            "label": self._names[self._classes[position]],
            "predicted": self._names[predicted],
            "probability": float(self._probabilities[position, predicted]),
            "loss": influence.loss,
            "loss_percentile": float(self._percentiles[position]),
            "score": influence.score,
            "z": influence.z,
        }
