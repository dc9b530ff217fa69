"""
Whether saliency and influence agree on what mattered (Han et al. 2020, §4.2): are training examples with a salient
token more influential, and do others become influential when the token is masked?
"""

from typing import AbstractSet, Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy
from allennlp.common.util import JsonDict

from allennlp_influence.analysis.clusters import ClusterBootstrap, Estimate
from allennlp_influence.analysis.masked_queries import MaskedScores, Positions
from allennlp_influence.analysis.rankings import overlap, ranking, top_count, values_at_the_top
from allennlp_influence.analysis.salient_tokens import SalientToken
from allennlp_influence.influence.explanation import z_scores

INFLUENCE_SHARES = (0.1, 0.2, 0.5, 1.0)  # figures 2 and 3
OVERLAP_SHARES = (0.001, 0.002, 0.005, 0.01)  # tables 3 and 4

INFLUENCE, OVERLAP, FLIPS = "influence", "overlap", "flips"
POOLED, MACRO = "pooled", "mean of inputs' means"
PREDICTED, HELD = "label predicted without the token", "label held fixed"


class TokenResult(NamedTuple):
    """Both experiments on one chosen token of one input."""

    row: int
    choice: str
    token: SalientToken
    influence: List[numpy.ndarray]
    """Experiment 1: z-scores of the training examples that have the token and the explained label, for each share."""
    predicted_without: str
    flipped: bool
    """Whether masking the token changes the prediction."""
    overlap: Dict[str, List[Optional[float]]]
    """Experiment 2: for each share, under the label explained as before and under `HELD`."""


class Row(NamedTuple):
    """One number of the table."""

    experiment: str
    token: str
    """A choice, or the difference of two."""
    top: Optional[float]
    """Share of the training examples that is looked at."""
    variant: str
    estimate: Estimate


def token_results(
    scores: numpy.ndarray,
    explanations: Sequence[JsonDict],
    tokens: Sequence[Mapping[str, SalientToken]],
    training_types: Sequence[AbstractSet[str]],
    training_labels: Sequence[str],
    masked_scores: Mapping[Tuple[int, Positions], MaskedScores],
    influence_shares: Sequence[float] = INFLUENCE_SHARES,
    overlap_shares: Sequence[float] = OVERLAP_SHARES,
) -> Iterator[TokenResult]:
    """
    Experiment 1: the z-scores of the training examples that have the explained label and the chosen token, among the
    top x % of all training examples. Experiment 2: how many of the top p % are still there when the input is
    explained without the token.

    # Parameters

    scores : `numpy.ndarray`, required
        `(Q, N)`.
    explanations, tokens : required
        The lines of explanations.jsonl and the `salient_tokens` of each input; inputs without tokens are left out.
    training_types : `Sequence[AbstractSet[str]]`, required
        The `token_types` of each training example.
    training_labels : `Sequence[str]`, required
    masked_scores : required
        See `by_position`.
    influence_shares, overlap_shares : `Sequence[float]`, optional
        x and p.
    """
    labels = numpy.array(training_labels)
    for row, (line, chosen) in enumerate(zip(explanations, tokens)):
        if not chosen:
            continue
        order, z = ranking(scores[row]), z_scores(scores[row])
        same_label = labels == line["explained"]
        for choice, token in chosen.items():
            have_token = numpy.array([token.text in types for types in training_types])
            without = masked_scores[row, token.positions]
            orders = {label: ranking(own) for label, own in without.scores.items()}
            yield TokenResult(
                row,
                choice,
                token,
                values_at_the_top(z, order, same_label & have_token, influence_shares),
                without.predicted,
                without.predicted != line["predicted"],
                {
                    name: _overlaps(order, orders[label], overlap_shares)
                    for name, label in ((PREDICTED, without.free), (HELD, line["explained"]))
                },
            )


def _overlaps(
    order: numpy.ndarray, other: numpy.ndarray, shares: Sequence[float]
) -> List[Optional[float]]:
    counts = [top_count(len(order), share) for share in shares]
    return [overlap(order, other, count) if count else None for count in counts]


def table(
    results: Sequence[TokenResult],
    bootstrap: ClusterBootstrap,
    influence_shares: Sequence[float] = INFLUENCE_SHARES,
    overlap_shares: Sequence[float] = OVERLAP_SHARES,
) -> List[Row]:
    """
    Means over the inputs, of each chosen token and of the difference of every two: pooled over all training examples
    of all inputs, as in the paper, and of the inputs' own means, so that those with a frequent token do not dominate.

    # Parameters

    results : `Sequence[TokenResult]`, required
    bootstrap : `ClusterBootstrap`, required
        Over all inputs, those left out too.
    influence_shares, overlap_shares : `Sequence[float]`, optional
        As of `token_results`.
    """
    choices = list(dict.fromkeys(result.choice for result in results))
    families: List[Tuple[str, Optional[float], str, Dict[str, List[List[float]]]]] = []

    def add(experiment: str, top: Optional[float], variants: Sequence[str], values: Any) -> None:
        of_choice: Dict[str, List[List[float]]] = {
            choice: [[] for _ in range(bootstrap.num_clusters)] for choice in choices
        }
        for result in results:
            of_choice[result.choice][result.row] = [v for v in values(result) if v is not None]
        families.extend((experiment, top, variant, of_choice) for variant in variants)

    for i, top in enumerate(influence_shares):
        add(INFLUENCE, top, (POOLED, MACRO), lambda result: result.influence[i])
    for label in (PREDICTED, HELD):
        for i, top in enumerate(overlap_shares):
            add(OVERLAP, top, (label,), lambda result: [result.overlap[label][i]])
    add(FLIPS, None, ("share of inputs",), lambda result: [float(result.flipped)])

    rows = []
    for experiment, top, variant, of_choice in families:
        mean, difference = (
            (bootstrap.mean_of_means, bootstrap.difference_of_means_of_means)
            if variant == MACRO
            else (bootstrap.pooled_mean, bootstrap.difference_of_pooled_means)
        )
        for choice in choices:
            rows.append(Row(experiment, choice, top, variant, mean(of_choice[choice])))
        for first, second in _pairs(choices):
            estimate = difference(of_choice[first], of_choice[second])
            rows.append(Row(experiment, f"{first} − {second}", top, variant, estimate))
    return rows


def _pairs(choices: Sequence[str]) -> List[Tuple[str, str]]:
    return [(a, b) for i, a in enumerate(choices) for b in choices[i + 1 :]]
