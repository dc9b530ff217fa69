"""Explanations in JSON, as the page and other clients get them."""

from typing import List, Sequence

import numpy
from allennlp.common.util import JsonDict

from allennlp_influence.influence import InfluenceExplanation, InfluenceFunctions
from allennlp_influence.influence.explanation import TrainingInfluence
from allennlp_influence.influence.in_json import diagnosis_in_json, influences_in_json
from allennlp_influence.report.histogram import MASS_OF, histogram_by_class, mass_shares
from allennlp_influence.report.page_data import rows_of_histograms, shares_below
from allennlp_influence.report.wording import diagnosis_in_words


class InfluenceInJson:
    """
    # Parameters

    interpreter : `InfluenceFunctions`
        Whose explanations they are; what is said of its training examples is computed once.
    """

    def __init__(self, interpreter: InfluenceFunctions) -> None:
        self._interpreter = interpreter
        self._names = interpreter.label_names
        self._probabilities = numpy.exp(interpreter.training_log_probabilities)
        self._predicted = self._probabilities.argmax(1)
        self._percentiles = shares_below(interpreter.training_losses)
        self._labels = [self._names[label] for label in interpreter.training_labels]
        self._rows, self._row_of_each = rows_of_histograms(self._labels, self._names)

    def __call__(self, explanation: InfluenceExplanation, seconds: float) -> JsonDict:
        """
        `supporters` and `opponents` as in explanations.jsonl, with what the model makes of each; the diagnosis in
        numbers and in words; how the scores of all N training examples are distributed, see `histogram_by_class`; and the
        seconds that it took.
        """
        interpreter, scores = self._interpreter, explanation.scores
        solver, damping = interpreter.solver_config["type"], interpreter.solver.damping
        numbers = diagnosis_in_json(explanation.diagnosis)
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
                "mass": {**mass_shares(scores), "of": min(MASS_OF, len(scores))},
            },
            "diagnosis": {**numbers, "in_words": diagnosis_in_words(numbers, damping, solver)},
            "seconds": round(seconds, 3),
        }

    def _listed(self, influences: Sequence[TrainingInfluence]) -> List[JsonDict]:
        lines = influences_in_json(influences, self._interpreter.examples)
        return [
            {**line, **self._of_model(influence.position)}
            for line, influence in zip(lines, influences)
        ]

    def _of_model(self, position: int) -> JsonDict:
        """What the model makes of a training example."""
        predicted = self._predicted[position]
        return {
            "label": self._labels[position],  # as the model calls it
            "predicted": self._names[predicted],
            "probability": float(self._probabilities[position, predicted]),
            "loss_percentile": float(self._percentiles[position]),
        }
