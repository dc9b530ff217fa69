"""
Whether removing the training examples that influence points at changes the prediction (Han et al. 2020, §4.1): which
ones are removed, what is measured after training again without them, and how sure the means are.
"""

from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy
from allennlp.common.checks import ConfigurationError
from scipy.special import logsumexp

from allennlp_influence.analysis.clusters import ClusterBootstrap, Estimate
from allennlp_influence.analysis.retrainer import Retrainer
from allennlp_influence.analysis.retrainings import Retraining
from allennlp_influence.influence.results import Results, sha256_of_examples

POSITIVE, NEGATIVE, NEAR_ZERO, RANDOM = "positive", "negative", "near-zero", "random"
POSITIVE_MATCHED, NEGATIVE_MATCHED = "positive-matched", "negative-matched"
GROUPS = (POSITIVE, NEGATIVE, NEAR_ZERO, RANDOM, POSITIVE_MATCHED, NEGATIVE_MATCHED)
_MATCHED = {POSITIVE_MATCHED: POSITIVE, NEGATIVE_MATCHED: NEGATIVE}
CONTROLS = (
    (POSITIVE, RANDOM),
    (NEGATIVE, RANDOM),
    (NEAR_ZERO, RANDOM),
    (POSITIVE, POSITIVE_MATCHED),
    (NEGATIVE, NEGATIVE_MATCHED),
)
"""Groups, and what they are compared with: as many examples; or as many of each label."""

RANDOM_DRAWS = 5  # for a seed; a draw serves all queries


class Removal(NamedTuple):
    """A group of training examples that is removed for a query, under a seed."""

    query: int
    """Row of the scores."""
    seed: int
    group: str
    retrainings: Tuple[Retraining, ...]
    """Of several, the mean is what counts."""


class Change(NamedTuple):
    """
    What a removal changed, beside the model of the same seed that nothing was removed for. Confidence, loss and margin
    are of the explained label.
    """

    query: int
    seed: int
    group: str
    removed: int
    """Number of training examples."""
    confidence: float
    """Change of the label's probability."""
    decision_confidence: float
    """The same for the label that the model of this seed predicts if nothing is removed, which is the paper's measure."""
    loss: float
    """Change of −log p, in nats."""
    margin: float
    """Change of log p − log(1 − p), in nats."""
    predicted_loss: Optional[float]
    """What influence predicts for `loss`: the sum of the scores of what is removed; `None` if these are not in nats."""


MEASURES = ("confidence", "decision_confidence", "loss", "predicted_loss", "margin")


class Row(NamedTuple):
    """One number of the table."""

    group: str
    versus: Optional[str]
    """The group whose changes are subtracted, pair by pair; `None` if none are."""
    measure: str
    estimate: Estimate
    """Over pairs of a query and a seed; the clusters are the queries."""


def examples_of(group: str, scores: numpy.ndarray, size: int) -> numpy.ndarray:
    """
    Positions of the `size` training examples with the highest scores (`positive`), the lowest (`negative`), or those
    nearest to 0 (`near-zero`), of scores `(N,)`. The paper's "least influential" are by the raw score as well, in which
    0 is no influence, unlike in z-scores.
    """
    order = {POSITIVE: -scores, NEGATIVE: scores, NEAR_ZERO: numpy.abs(scores)}[group]
    return numpy.argsort(order, kind="stable")[:size]


def matched(
    positions: numpy.ndarray, labels: numpy.ndarray, rng: numpy.random.Generator
) -> numpy.ndarray:
    """Random positions, as many of each label as there are among `positions`; `labels` `(N,)`."""
    drawn = [
        rng.choice(numpy.flatnonzero(labels == label), count, replace=False)
        for label, count in zip(*numpy.unique(labels[positions], return_counts=True))
    ]
    return numpy.concatenate(drawn)


def plan(
    scores: numpy.ndarray,
    labels: Sequence[str],
    seeds: Sequence[int],
    fraction: float = 0.1,
    groups: Sequence[str] = GROUPS,
) -> Iterator[Removal]:
    """
    What is removed for every query under every seed.

    A random removal does not depend on the query: the same few serve all queries of a seed. One that is matched in
    labels to a group is drawn anew for every query and seed.

    # Parameters

    scores : `numpy.ndarray`
        `(Q, N)`.
    labels : `Sequence[str]`
        Of the training examples.
    seeds : `Sequence[int]`
    fraction : `float`, optional (default = `0.1`)
        Of the training examples, as the paper's tables 1 and 2.
    groups : `Sequence[str]`, optional (default = `GROUPS`)

    # Raises

    `ConfigurationError` if a group is unknown, or the fraction leaves nothing to remove or to train on.
    """
    number = scores.shape[1]
    size = int(fraction * number)
    if not 0 < size < number:
        raise ConfigurationError(
            f"a fraction of {fraction:g} of {number:,} training examples is {size:,}: nothing is removed, or nothing left"
        )
    unknown = [group for group in groups if group not in GROUPS]
    if unknown or not groups:
        raise ConfigurationError(f"groups are {', '.join(GROUPS)}; not {', '.join(unknown) or 'none'}")
    classes = numpy.asarray(labels)
    by_score = [
        {g: examples_of(g, row, size) for g in (POSITIVE, NEGATIVE, NEAR_ZERO)} for row in scores
    ]
    chosen = [{g: tuple(p.tolist()) for g, p in of_query.items()} for of_query in by_score]
    for seed in seeds:
        if RANDOM in groups:
            rng = numpy.random.default_rng([seed])
            drawn = [rng.choice(number, size, replace=False) for _ in range(RANDOM_DRAWS)]
            shared = tuple(Retraining(seed, tuple(draw.tolist())) for draw in drawn)
            yield from (Removal(query, seed, RANDOM, shared) for query in range(len(scores)))
        for query in range(len(scores)):
            for group in groups:
                if group in _MATCHED:
                    rng = numpy.random.default_rng([seed, query, GROUPS.index(group)])
                    removed = tuple(matched(by_score[query][_MATCHED[group]], classes, rng).tolist())
                elif group != RANDOM:
                    removed = chosen[query][group]
                else:
                    continue
                yield Removal(query, seed, group, (Retraining(seed, removed),))


def retrainings_of(removals: Sequence[Removal]) -> List[Retraining]:
    """Each once, in the order of the removals; before a seed's first removal the model of all training examples."""
    found: Dict[Retraining, None] = {}
    for removal in removals:
        found[Retraining(removal.seed)] = None
        found.update(dict.fromkeys(removal.retrainings))
    return list(found)


def changes_of(
    removals: Sequence[Removal],
    trained: Mapping[Retraining, numpy.ndarray],
    explained: Sequence[int],
    scores: Optional[numpy.ndarray] = None,
) -> List[Change]:
    """
    The changes by those removals all of whose models are trained.

    # Parameters

    removals : `Sequence[Removal]`
    trained : `Mapping[Retraining, numpy.ndarray]`
        Log probabilities `(Q, num_classes)`, as a `Journal` has them.
    explained : `Sequence[int]`
        The class index that is explained for each query.
    scores : `numpy.ndarray`, optional (default = `None`)
        `(Q, N)`, if they are in nats.
    """
    changes = []
    for query, seed, group, retrainings in removals:
        reference = Retraining(seed)
        if reference not in trained or any(r not in trained for r in retrainings):
            continue
        before = trained[reference][query]
        of_each = [_change(before, trained[r][query], explained[query]) for r in retrainings]
        predicted = None
        if scores is not None:
            sums = [scores[query, list(r.leave_out)].sum(dtype=float) for r in retrainings]
            predicted = float(numpy.mean(sums))
        changes.append(
            Change(
                query,
                seed,
                group,
                len(retrainings[0].leave_out),
                *numpy.mean(of_each, axis=0).tolist(),
                predicted_loss=predicted,
            )
        )
    return changes


def _change(before: numpy.ndarray, after: numpy.ndarray, label: int) -> Tuple[float, ...]:
    """Of confidence, confidence in the decision, loss and margin, for log probabilities `(num_classes,)`."""
    decision = int(before.argmax())
    return (
        numpy.exp(after[label]) - numpy.exp(before[label]),
        numpy.exp(after[decision]) - numpy.exp(before[decision]),
        before[label] - after[label],
        _margin(after, label) - _margin(before, label),
    )


def table(changes: Sequence[Change], bootstrap: ClusterBootstrap) -> List[Row]:
    """
    Means over pairs of a query and a seed: of every group, and of the differences from its controls. There must be one
    change.

    `bootstrap` has a cluster for each query. Its intervals say how the means would vary with other queries; that the
    seeds, and with them the models that nothing is removed for, are few and the same for all, they do not cover.
    """
    by_group: Dict[str, Dict[Tuple[int, int], Change]] = {}
    for change in changes:
        by_group.setdefault(change.group, {})[change.query, change.seed] = change
    rows = []
    for measure in MEASURES:
        if getattr(changes[0], measure) is None:
            continue
        values = {
            group: {pair: getattr(change, measure) for pair, change in of_pair.items()}
            for group, of_pair in by_group.items()
        }
        for group in GROUPS:
            if group in values:
                rows.append(Row(group, None, measure, _mean(values[group], bootstrap)))
        for group, control in CONTROLS:
            if group in values and control in values:
                both = values[group].keys() & values[control].keys()
                differences = {p: values[group][p] - values[control][p] for p in sorted(both)}
                rows.append(Row(group, control, measure, _mean(differences, bootstrap)))
    return rows


def check_same_data(results: Results, retrainer: Retrainer) -> None:
    """
    # Raises

    `ConfigurationError` if a result directory is of other training examples, queries or classes than a retrainer.
    """
    inputs = results.provenance["inputs"]
    for name, examples, what, option in (
        ("train_data", retrainer.examples, "training examples", "--train-data"),
        ("input", retrainer.queries, "inputs", "--input-file"),
    ):
        if sha256_of_examples(examples) != inputs.get(name):
            raise ConfigurationError(
                f"{results.directory} is of other {what} than those read now; give the file that it was made with by {option}"
            )
    classes = set(results.explanations[0]["labels"])
    if classes != set(retrainer.label_names):
        raise ConfigurationError(
            f"{results.directory} is of a model with the classes {', '.join(sorted(classes))}, but what is trained again "
            f"has {', '.join(sorted(retrainer.label_names))}"
        )


def _mean(values: Mapping[Tuple[int, int], float], bootstrap: ClusterBootstrap) -> Estimate:
    clusters: List[List[float]] = [[] for _ in range(bootstrap.num_clusters)]
    for (query, _), value in values.items():
        clusters[query].append(value)
    return bootstrap.pooled_mean(clusters)


def _margin(log_probabilities: numpy.ndarray, label: int) -> float:
    return log_probabilities[label] - logsumexp(numpy.delete(log_probabilities, label))
