"""What the model makes of its own training examples."""

from typing import Iterator

import numpy
from allennlp.common.util import JsonDict

from allennlp_influence.influence.influence_functions import InfluenceFunctions


def training_lines(interpreter: InfluenceFunctions) -> Iterator[JsonDict]:
    """
    A line of training_examples.jsonl for every training example, in training order: `id`, `text`, `label`, `columns`,
    the `predicted` label with the `probabilities` of the classes (in the order of the explanations' `labels`), and in
    nats the `loss` at its own label and its `self_influence`, which is `None` where the solver has no affordable way
    to it (see `InverseCurvature.no_self_influence`).
    """
    names = interpreter.label_names
    probabilities = numpy.exp(interpreter.training_log_probabilities)
    affordable = interpreter.no_self_influence is None
    strengths = interpreter.self_influence.tolist() if affordable else [None] * len(probabilities)
    for i, example in enumerate(interpreter.examples):
        yield {
            "id": example.id,
            "text": example.text,
            "label": names[interpreter.training_labels[i]],
            "columns": example.columns,
            "predicted": names[int(probabilities[i].argmax())],
            "probabilities": probabilities[i].tolist(),
            "loss": float(interpreter.training_losses[i]),
            "self_influence": strengths[i],
        }
