"""Which solver and λ predict best what training without random groups of examples does."""

import functools
from typing import Any, Dict, List, Optional, Sequence

import numpy
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict

from allennlp_influence.analysis.explained_models import (
    ExplainedModel,
    Scored,
    combined,
)
from allennlp_influence.analysis.linear_datamodeling import (
    Agreement,
    LinearDatamodelingScore,
    measured_outputs,
)
from allennlp_influence.analysis.model_bank import ModelBank, random_subsets, retrainings_without
from allennlp_influence.analysis.settings import Setting

LABELS = ("predicted", "gold")


class Measurements:
    """
    What training without random groups of examples does to the queries, and the models that are explained.

    # Parameters

    bank : `ModelBank`, required
    num_subsets, num_seeds : `int`, required
        Every subset is trained on with every seed.
    num_explained : `int`, required
        Models that are trained on everything, with other seeds.
    measure : `str`, optional (default = `"margin"`)
        See `measured_outputs`.
    label : `str`, optional (default = `"predicted"`)
        The class of every query that is explained: `predicted`, by the mean log probabilities of the explained models,
        or `gold`.
    share_left_out : `float`, optional (default = `0.5`)
        Of the training examples.

    # Raises

    `ConfigurationError` if a number is too small, or a query has no gold label, but that is explained.
    """

    def __init__(
        self,
        bank: ModelBank,
        num_subsets: int,
        num_seeds: int,
        num_explained: int,
        measure: str = "margin",
        label: str = "predicted",
        share_left_out: float = 0.5,
    ) -> None:
        if num_explained < 1:
            raise ConfigurationError(f"at least 1 model must be explained, not {num_explained}")
        gold = gold_labels(bank) if label == "gold" else None
        left_out = groups_left_out(bank, num_subsets, share_left_out)
        found = bank.log_probabilities(retrainings_without(left_out, range(num_seeds)))
        self.models = [ExplainedModel(bank, number) for number in range(num_explained)]
        mean = numpy.mean([model.log_probabilities for model in self.models], 0)
        self.labels = gold or mean.argmax(-1).tolist()
        measured = measured_outputs(
            found.reshape(num_seeds, num_subsets, *found.shape[1:]), self.labels, measure
        )
        self.score = LinearDatamodelingScore(left_out, measured)


def groups_left_out(bank: ModelBank, number: int, share: float = 0.5) -> numpy.ndarray:
    """
    `random_subsets` of the training examples.

    # Raises

    `ConfigurationError` if there are too few to correlate, or the share is none.
    """
    if number < 3:
        raise ConfigurationError(f"at least 3 groups must be left out, not {number}")
    if not 0 < share < 1:
        raise ConfigurationError(
            f"the share of the examples that is left out must be between 0 and 1, not {share}"
        )
    return random_subsets(len(bank.retrainer.examples), number, share)


def validate_lds(measurements: Measurements, settings: Sequence[Setting]) -> JsonDict:
    """
    The linear datamodeling score of every solver and λ, of single models (their mean) and of the scores averaged over
    the models, and by how much single models are below the best.

    # Returns

    `JsonDict`
        `rows`, best first, and `ceiling`.
    """
    rows, draws = [], {}
    for setting in settings:
        of_models = [scores_of(model, setting, measurements.labels) for model in measurements.models]
        for damping in setting.dampings:
            row, single = _row(setting, damping, [own[damping] for own in of_models], measurements)
            if single is not None:
                draws[len(rows)] = single
            rows.append(row)
    best = max(draws.values(), key=lambda own: own.mean, default=None)
    for number, single in draws.items():
        low, high = numpy.percentile(best.draws - single.draws, [2.5, 97.5]).tolist()
        rows[number]["below_best"] = {"mean": best.mean - single.mean, "low": low, "high": high}
    rows.sort(key=lambda row: -row["lds"]["mean"] if row["lds"] else numpy.inf)
    return {"rows": rows, "ceiling": _ceiling(measurements.score)}


def scores_of(
    model: ExplainedModel, setting: Setting, labels: Sequence[int]
) -> Dict[float, Scored]:
    """By λ."""
    points = model.by_epoch if setting.at_checkpoints else [model]
    at_each = [point.scores(setting.solver, setting.dampings, labels) for point in points]
    mean = functools.partial(numpy.mean, axis=0)
    return {d: combined([own[d] for own in at_each], mean) for d in setting.dampings}


def _row(
    setting: Setting, damping: float, scored: Sequence[Scored], measurements: Measurements
) -> Any:
    row: Dict[str, Any] = {
        "solver": setting.solver,
        "name": setting.name,
        "damping": damping,
        "at_checkpoints": setting.at_checkpoints,
        "lds": None,
        "lds_of_averaged": None,
        "seconds": float(numpy.mean([own.seconds for own in scored])),
        "residual": max((own.residual for own in scored if own.residual is not None), default=None),
        "error": next((own.error for own in scored if own.error is not None), None),
    }
    if row["error"] is not None:
        return row, None
    scores = numpy.stack([own.scores for own in scored])
    single = measurements.score.of_scores(scores)
    row["lds"] = summary(single)
    row["lds_of_averaged"] = summary(measurements.score.of_scores(scores.mean(0)))
    return row, single


def _ceiling(score: LinearDatamodelingScore) -> Optional[JsonDict]:
    if score.num_seeds < 2:
        return None
    halves, ceiling = score.ceiling()
    return {"agreement_of_halves": summary(halves), "ceiling": ceiling}


def summary(agreement: Agreement) -> Dict[str, float]:
    """Mean and interval."""
    return {"mean": agreement.mean, "low": agreement.low, "high": agreement.high}


def gold_labels(bank: ModelBank) -> List[int]:
    """
    The class index of every query's own label.

    # Raises

    `ConfigurationError` if one has none that the model knows.
    """
    retrainer = bank.retrainer
    for query in retrainer.queries:
        if query.label not in retrainer.label_names:
            raise ConfigurationError(
                f"query {query.id} has the label {query.label!r}, which is none of the model's "
                f"({', '.join(retrainer.label_names)}): gold labels can't be explained"
            )
    return [retrainer.label_names.index(query.label) for query in retrainer.queries]
