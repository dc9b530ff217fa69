"""Training examples whose label is probably wrong."""

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict

from allennlp_influence.influence.explanation import z_scores
from allennlp_influence.influence.results import Results


class Suspect(NamedTuple):
    """
    A training example and the evidence against its label: the larger each is, the more suspicious; `None` where it is
    not known.
    """

    rank: int
    """By the evidence that was chosen, from 1."""
    id: int
    """Row in the training file."""
    text: Dict[str, str]
    label: str
    predicted: str
    probability: float
    """Of the predicted label."""
    self_influence: Optional[float]
    """By how much the example's own loss would rise if it were removed: how much it had to be learnt by heart. Nats."""
    percentile: float
    """Share of the training examples that the chosen evidence is weaker against, in %."""
    loss: float
    """At its own label, in nats."""
    margin: float
    """Probability of the most probable other label, less that of its own."""
    opposing_influence: Optional[float]
    """How much it speaks against the gold labels of the explained inputs, in standard deviations, see `opposition`."""


EVIDENCE = ("self-influence", "opposing-influence", "loss", "margin")


def label_errors(
    examples: Sequence[JsonDict],
    labels: Sequence[str],
    by: str = "self-influence",
    opposing: Optional[Sequence[float]] = None,
) -> List[Suspect]:
    """
    All training examples, the most suspicious first; equally suspicious ones in training order.

    An example of its own kind whose label contradicts what the others teach has to be learnt by heart, so that its
    self-influence is large (Koh & Liang 2017, §5.4). So are those of correct examples that are like no other: it is a
    list for a person to look through.

    # Parameters

    examples : `Sequence[JsonDict]`, required
        Lines of training_examples.jsonl, see `training_lines`.
    labels : `Sequence[str]`, required
        The classes in the order of the lines' `probabilities`.
    by : `str`, optional (default = `"self-influence"`)
        The evidence to rank by, one of `EVIDENCE`.
    opposing : `Sequence[float]`, optional (default = `None`)
        Of every training example, see `opposing_influence`.

    # Raises

    `ConfigurationError` if there is no such evidence, or it is not known.
    """
    if by not in EVIDENCE:
        raise ConfigurationError(f"evidence {by!r} is none of {', '.join(EVIDENCE)}")
    places = {label: place for place, label in enumerate(labels)}
    evidence: Mapping[str, Sequence[Optional[float]]] = {
        "self-influence": [example["self_influence"] for example in examples],
        "opposing-influence": [None] * len(examples) if opposing is None else list(opposing),
        "loss": [example["loss"] for example in examples],
        "margin": [_margin(e["probabilities"], places[e["label"]]) for e in examples],
    }
    chosen = evidence[by]
    if any(value is None for value in chosen):
        raise ConfigurationError(f"there is no {by} to rank training examples by")
    order = numpy.argsort(-numpy.asarray(chosen), kind="stable")
    ascending = numpy.sort(chosen)
    return [
        Suspect(
            rank=rank,
            id=examples[i]["id"],
            text=examples[i]["text"],
            label=examples[i]["label"],
            predicted=examples[i]["predicted"],
            probability=max(examples[i]["probabilities"]),
            self_influence=evidence["self-influence"][i],
            percentile=100 * float(numpy.searchsorted(ascending, chosen[i])) / len(examples),
            loss=evidence["loss"][i],
            margin=evidence["margin"][i],
            opposing_influence=evidence["opposing-influence"][i],
        )
        for rank, i in enumerate(order, start=1)
    ]


def opposing_influence(results: Results) -> Optional[List[float]]:
    """`opposition` of every training example to the queries explained at their gold labels; `None` if there are none."""
    pairs = zip(results.scores, results.explanations)
    at_gold = [row for row, line in pairs if line["gold"] == line["explained"]]
    return opposition(at_gold).tolist() if at_gold else None


def opposition(scores: Sequence[numpy.ndarray]) -> numpy.ndarray:
    """
    −1/Q Σ_q z[q, i] of every training example i, for scores `(Q, N)` on labels that are right.

    Of z-scores, so that every query counts the same: in the plain sum the few that the model is confidently wrong about have
    the largest gradients by far, and they are helped by whatever lowers confidence, as wrong labels do.
    """
    total = numpy.zeros(len(scores[0]))
    for row in scores:
        total -= z_scores(row)
    return total / len(scores)


def _margin(probabilities: Sequence[float], label: int) -> float:
    others = [p for place, p in enumerate(probabilities) if place != label]
    return max(others, default=0.0) - probabilities[label]
