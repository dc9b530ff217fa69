"""How strongly predictions lean on artifacts: quadratics of an artifact on influence (Han et al. 2020, §5)."""

from dataclasses import dataclass
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy
from allennlp.common import Tqdm
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict

from allennlp_influence.analysis.features import ArtifactFeature
from allennlp_influence.analysis.quadratic import fit_quadratics, r_squared, resamples
from allennlp_influence.analysis.scales import SCALES, scaled
from allennlp_influence.data.example import Example
from allennlp_influence.influence.results import Results

Groups = Dict[Tuple[str, str], List[int]]
"""The places of the queries that have a value in a column, by column and value."""

ALL = "all"
PREDICTED = "predicted"
_LEVEL = 0.95
_RESAMPLES_AT_ONCE = 100


@dataclass(frozen=True)
class FeatureFits:
    """
    The fits a + b z + c z² of one feature, for each of Q queries; z is the influence of the N training examples on one
    of the `SCALES`. Not a number for a query whose scores have no three values.
    """

    values: numpy.ndarray
    """The feature of every training example, `(N,)`."""
    coefficients: numpy.ndarray
    """a, b and c of every query, `(Q, 3)`. c > 0: the artifact is where influence is strong."""
    r_squared: numpy.ndarray
    """`(Q,)`"""
    replicates: numpy.ndarray
    """`coefficients` from B resamples of the training examples, the same for all queries and features, `(B, Q, 3)`."""

    @property
    def intervals(self) -> numpy.ndarray:
        """95 % percentile intervals of c, `(Q, 2)` (Efron & Tibshirani 1993, §13)."""
        return percentiles(self.replicates[:, :, 2]).T


class Average(NamedTuple):
    """
    The mean c of one feature over some queries. Its interval resamples both the training examples and the queries (the
    pigeonhole bootstrap, Owen 2007): queries share their training examples.
    """

    feature: str
    scale: str
    by: str
    group: str
    num_queries: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ArtifactAnalysis:
    """What `analyse` found."""

    fits: Dict[str, Dict[str, FeatureFits]]
    """By the names of the features, and by scale."""
    groups: Groups
    averages: List[Average]
    """Of every feature, scale and group."""


def training_examples(results: Results) -> List[Example]:
    """The training examples of a result directory, in the order of its scores."""
    return [
        Example(line["id"], line["text"], line["label"], line["columns"])
        for line in results.training_examples
    ]


def analyse(
    results: Results,
    features: Mapping[str, ArtifactFeature],
    groups: Groups,
    num_resamples: int = 1000,
    seed: int = 0,
) -> ArtifactAnalysis:
    """
    Fits every feature for every query, and averages over groups of queries.

    # Raises

    `ConfigurationError` if a feature does not apply, is constant or not finite.
    """
    if num_resamples < 1:
        raise ConfigurationError(f"the number of resamples is {num_resamples}; expected 1 or more")
    if not features:
        return ArtifactAnalysis({}, groups, [])
    examples = training_examples(results)
    values = numpy.stack([_checked_values(*named, examples) for named in features.items()])
    fits = {scale: _fits(results.scores, scale, values, num_resamples, seed) for scale in SCALES}
    by_feature = {
        name: {scale: fits[scale][f] for scale in SCALES} for f, name in enumerate(features)
    }
    averages = []
    generator = numpy.random.default_rng(seed)
    for (by, group), positions in groups.items():
        drawn = resamples(len(positions), num_resamples, generator)  # (B, queries of the group)
        for name, of_scales in by_feature.items():
            for scale, fit in of_scales.items():
                averages.append(Average(name, scale, by, group, *_mean(fit, positions, drawn)))
    return ArtifactAnalysis(by_feature, groups, averages)


def group_name(by: str, group: str) -> str:
    """What a group is called: all queries, or `heuristic: constituent`."""
    return "all queries" if by == ALL else f"{by}: {group}"


def groups_of(explanations: Sequence[JsonDict], by: Sequence[str]) -> Groups:
    """
    All queries, those of each predicted label, and those of each value of the columns in `by`: `gold`, `explained`, or
    a further column of the input file.

    # Raises

    `ConfigurationError` naming the columns that there are.
    """
    groups: Groups = {(ALL, ALL): list(range(len(explanations)))}
    for column in dict.fromkeys((PREDICTED, *by)):
        found: Dict[str, List[int]] = {}
        for position, line in enumerate(explanations):
            own = {name: line[name] for name in (PREDICTED, "gold", "explained")}
            own = {**line["columns"], **own}
            if column not in own:
                raise ConfigurationError(
                    f"query {line['id']} has no column {column!r}; there is: {', '.join(own)}"
                )
            found.setdefault(str(own[column]), []).append(position)
        groups.update({(column, group): found[group] for group in sorted(found)})
    return groups


def percentiles(values: numpy.ndarray) -> numpy.ndarray:
    """The lower and upper end of what 95 % of values `(B, …)` lie between, `(2, …)`."""
    tail = 50 * (1 - _LEVEL)
    finite = numpy.isfinite(values).any(0)
    values = numpy.where(finite, values, 0.0)  # no warning about what there is none of
    return numpy.where(finite, numpy.nanpercentile(values, [tail, 100 - tail], axis=0), numpy.nan)


def _checked_values(
    name: str, feature: ArtifactFeature, examples: Sequence[Example]
) -> numpy.ndarray:
    values = feature.values(examples)
    if not numpy.isfinite(values).all():
        wrong = int(numpy.flatnonzero(~numpy.isfinite(values))[0])
        raise ConfigurationError(
            f"the feature {name} is {values[wrong]} for training example {examples[wrong].id}; expected a number"
        )
    if (values == values[0]).all():
        raise ConfigurationError(
            f"the feature {name} is {values[0]:g} for all {len(values):,} training examples: a constant has nothing "
            "to do with influence"
        )
    return values


def _fits(
    scores: numpy.ndarray, scale: str, values: numpy.ndarray, num_resamples: int, seed: int
) -> List[FeatureFits]:
    """Of every feature, whose values are `(F, N)`."""
    shape = (len(scores), len(values))
    coefficients, explained = numpy.empty((*shape, 3)), numpy.empty(shape)
    for block, z in scaled(scores, scale):
        coefficients[block] = fit_quadratics(z, values)[0]
        explained[block] = r_squared(coefficients[block], z, values)
    replicates = numpy.empty((num_resamples, *shape, 3))
    generator = numpy.random.default_rng(seed)
    with Tqdm.tqdm(total=num_resamples * len(scores), desc=f"bootstrap, {scale}") as progress:
        for begin in range(0, num_resamples, _RESAMPLES_AT_ONCE):
            some = slice(begin, min(begin + _RESAMPLES_AT_ONCE, num_resamples))
            weights = resamples(scores.shape[1], some.stop - some.start, generator)
            for block, z in scaled(scores, scale):
                replicates[some, block] = fit_quadratics(z, values, weights)
                progress.update(len(weights) * len(z))
    return [
        FeatureFits(values[f], coefficients[:, f], explained[:, f], replicates[:, :, f])
        for f in range(len(values))
    ]


def _mean(
    fit: FeatureFits, positions: Sequence[int], drawn: numpy.ndarray
) -> Tuple[int, float, float, float]:
    """Of how many queries, their mean c, and the ends of its interval."""
    c = fit.coefficients[positions, 2]
    usable = numpy.isfinite(c)
    if not usable.any():
        return 0, numpy.nan, numpy.nan, numpy.nan
    replicates = fit.replicates[:, positions, 2]  # (B, queries of the group)
    weights = drawn * numpy.isfinite(replicates)
    with numpy.errstate(invalid="ignore"):  # where only queries without a fit were drawn
        means = (weights * numpy.nan_to_num(replicates)).sum(1) / weights.sum(1)
    low, high = percentiles(means)
    return int(usable.sum()), float(c[usable].mean()), float(low), float(high)
