"""Which solver and λ find wrong labels that were planted."""

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict
from sklearn.metrics import roc_auc_score
from torch import Tensor

from allennlp_influence.analysis.explained_models import ExplainedModel
from allennlp_influence.analysis.label_errors import opposition
from allennlp_influence.analysis.model_bank import ModelBank
from allennlp_influence.analysis.settings import Setting
from allennlp_influence.analysis.validate_lds import gold_labels
from allennlp_influence.influence.checkpoints import mean_log_probabilities, mean_self_influence

INSPECTED = (0.1, 0.2)


class Detector(NamedTuple):
    """The evidence, the name of the solver and λ, if it takes such, and how many models it is averaged over."""

    evidence: str
    solver: Optional[str] = None
    damping: Optional[float] = None
    models: int = 1


class Detection(NamedTuple):
    """
    How well suspicion finds wrong labels: the area under the ROC curve, and the share of them that is among the most
    suspicious examples, by how much of the data these are.
    """

    auc: float
    found: Dict[float, float]


def detection(
    suspicion: numpy.ndarray, wrong: numpy.ndarray, inspected: Sequence[float] = INSPECTED
) -> Detection:
    """
    # Parameters

    suspicion : `numpy.ndarray`
        `(N,)`: the more suspicious, the larger.
    wrong : `numpy.ndarray`
        `(N,)` of `bool`.
    inspected : `Sequence[float]`
        Shares of the data.
    """
    order = numpy.argsort(-suspicion, kind="stable")
    found = {
        share: float(wrong[order[: round(share * len(order))]].sum() / wrong.sum())
        for share in inspected
    }
    return Detection(float(roc_auc_score(wrong, suspicion)), found)


def flipped_labels(
    labels: Sequence[int], num_classes: int, share: float, seed: int
) -> Dict[int, int]:
    """Another class, at random, for a random share of the examples, by place; at least for one."""
    random = numpy.random.default_rng([seed, round(share * 1e6)])
    places = random.permutation(len(labels))[: max(1, round(share * len(labels)))]
    shifts = random.integers(1, num_classes, len(places))
    return {int(i): int((labels[i] + shift) % num_classes) for i, shift in zip(places, shifts)}


def validate_mislabel(
    bank: ModelBank,
    settings: Sequence[Setting],
    shares: Sequence[float],
    num_labellings: int,
    num_models: int,
) -> JsonDict:
    """
    Trains models on labels of which a share is wrong, and lets self-influence find them, and `opposition` to the queries at
    their gold labels (if they have such), beside loss, margin and chance: at each model, and averaged over all that were
    trained on the same labels.

    # Parameters

    bank : `ModelBank`, required
    settings : `Sequence[Setting]`, required
    shares : `Sequence[float]`, required
        Of the labels.
    num_labellings : `int`, required
        How often other labels are wrong, for each share.
    num_models : `int`, required
        How many are trained on each labelling.

    # Returns

    `JsonDict`
        `rows`, by share of wrong labels and the best first: means over the models, or over the averages of `models` of them,
        and their spread.

    # Raises

    `ConfigurationError` if a share is none, or there are too few models.
    """
    retrainer = bank.retrainer
    for share in shares:
        if not 0 < share < 1:
            raise ConfigurationError(f"the share of wrong labels must be between 0 and 1, not {share}")
    if num_labellings < 1 or num_models < 1:
        raise ConfigurationError(
            f"at least 1 model must be trained on at least 1 set of wrong labels, not {num_models} on {num_labellings}"
        )
    try:
        gold = gold_labels(bank)
    except ConfigurationError:
        gold = None
    rows = []
    for share in shares:
        found: Dict[Detector, List[Detection]] = {}
        for number in range(num_labellings):
            flips = flipped_labels(
                retrainer.training_labels, len(retrainer.label_names), share, number
            )
            wrong = numpy.isin(numpy.arange(len(retrainer.examples)), list(flips))
            models = [ExplainedModel(bank, number + k, flips) for k in range(num_models)]
            labels = models[0].training_labels
            seen = [_seen(model, settings, gold) for model in models]
            groups = [[own] for own in seen] + ([seen] if num_models > 1 else [])
            chance = numpy.random.default_rng(number).random(len(labels))
            found.setdefault(Detector("chance"), []).append(detection(chance, wrong))
            for group in groups:
                for detector, suspicion in _suspicions(group, labels):
                    found.setdefault(detector, []).append(detection(suspicion, wrong))
        own = [_row(share, detector, detections) for detector, detections in found.items()]
        rows += sorted(own, key=lambda row: -row["auc"]["mean"])
    return {"rows": rows}


class _Seen(NamedTuple):
    """Of one model: `(N, num_classes)`, and by solver and λ self-influence `(N,)` and scores `(num_queries, N)`."""

    log_probabilities: Tensor
    self_influence: Dict[Tuple[str, float], Tensor]
    scores: Dict[Tuple[str, float], numpy.ndarray]


def _seen(
    model: ExplainedModel, settings: Sequence[Setting], gold: Optional[Sequence[int]]
) -> _Seen:
    seen = _Seen(model.training_set.log_probabilities().double(), {}, {})
    for setting in settings:
        if setting.has_self_influence:
            values = torch.as_tensor(model.self_influence(setting.solver, setting.dampings))
            for damping, value in zip(setting.dampings, values):
                seen.self_influence[setting.name, damping] = value
        if gold is None:
            continue
        for damping, scored in model.scores(setting.solver, setting.dampings, gold).items():
            if scored.scores is not None:
                seen.scores[setting.name, damping] = scored.scores
    return seen


def _suspicions(
    models: Sequence[_Seen], labels: Sequence[int]
) -> Iterator[Tuple[Detector, numpy.ndarray]]:
    """Averaged as `InfluenceFunctions` does over its checkpoints."""
    log_p = mean_log_probabilities([own.log_probabilities for own in models]).numpy()
    places = numpy.arange(len(log_p))
    own = log_p[places, labels]
    log_p[places, labels] = -numpy.inf
    yield Detector("loss", models=len(models)), -own
    yield Detector("margin", models=len(models)), numpy.exp(log_p.max(1)) - numpy.exp(own)
    for name, damping in models[0].self_influence:
        values = mean_self_influence([own.self_influence[name, damping] for own in models])
        yield Detector("self-influence", name, damping, len(models)), values.numpy()
    for name, damping in models[0].scores:
        scores = [own.scores.get((name, damping)) for own in models]
        if all(own is not None for own in scores):
            mean = numpy.mean(scores, axis=0)
            yield Detector("opposing influence", name, damping, len(models)), opposition(mean)


def _row(share: float, detector: Detector, detections: Sequence[Detection]) -> Mapping[str, Any]:
    return {
        "wrong": share,
        **detector._asdict(),
        "auc": _over_models([own.auc for own in detections]),
        "found": {
            str(inspected): _over_models([own.found[inspected] for own in detections])
            for inspected in INSPECTED
        },
    }


def _over_models(values: Sequence[float]) -> Dict[str, float]:
    return {"mean": float(numpy.mean(values)), "min": min(values), "max": max(values)}
