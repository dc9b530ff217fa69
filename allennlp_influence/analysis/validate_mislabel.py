"""Which solver and λ find wrong labels that were planted."""

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict
from sklearn.metrics import roc_auc_score

from allennlp_influence.analysis.explained_models import ExplainedModel
from allennlp_influence.analysis.label_errors import opposition
from allennlp_influence.analysis.model_bank import ModelBank
from allennlp_influence.analysis.settings import Setting
from allennlp_influence.analysis.validate_lds import gold_labels

INSPECTED = (0.1, 0.2)

# The evidence, the name of the solver and λ, if it takes such.
Detector = Tuple[str, Optional[str], Optional[float]]


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
    bank: ModelBank, settings: Sequence[Setting], shares: Sequence[float], num_models: int
) -> JsonDict:
    """
    Trains models on labels of which a share is wrong, others for each model, and lets self-influence find them, and
    `opposition` to the queries at their gold labels (if they have such), beside loss, margin and chance.

    # Returns

    `JsonDict`
        `rows`, by share of wrong labels and the best first: means over the models, and their spread.
    """
    retrainer = bank.retrainer
    for share in shares:
        if not 0 < share < 1:
            raise ConfigurationError(f"the share of wrong labels must be between 0 and 1, not {share}")
    rows = []
    for share in shares:
        found: Dict[Detector, List[Detection]] = {}
        for number in range(num_models):
            flips = flipped_labels(
                retrainer.training_labels, len(retrainer.label_names), share, number
            )
            wrong = numpy.isin(numpy.arange(len(retrainer.examples)), list(flips))
            model = ExplainedModel(bank, number, flips)
            for detector, suspicion in _suspicions(bank, model, settings, number):
                found.setdefault(detector, []).append(detection(suspicion, wrong))
        own = [_row(share, detector, detections) for detector, detections in found.items()]
        rows += sorted(own, key=lambda row: -row["auc"]["mean"])
    return {"rows": rows}


def _suspicions(
    bank: ModelBank, model: ExplainedModel, settings: Sequence[Setting], seed: int
) -> Iterator[Tuple[Detector, numpy.ndarray]]:
    log_p = model.training_set.log_probabilities().double().numpy()
    places = numpy.arange(len(log_p))
    own = log_p[places, model.training_labels]
    log_p[places, model.training_labels] = -numpy.inf
    yield ("loss", None, None), -own
    yield ("margin", None, None), numpy.exp(log_p.max(1)) - numpy.exp(own)
    yield ("chance", None, None), numpy.random.default_rng(seed).random(len(own))
    try:
        gold = gold_labels(bank)
    except ConfigurationError:
        gold = None
    for setting in settings:
        if setting.has_self_influence:
            values = model.self_influence(setting.solver, setting.dampings)
            for damping, value in zip(setting.dampings, values):
                yield ("self-influence", setting.name, damping), value
        if gold is None:
            continue
        for damping, scored in model.scores(setting.solver, setting.dampings, gold).items():
            if scored.scores is not None:
                yield ("opposing influence", setting.name, damping), opposition(scored.scores)


def _row(share: float, detector: Detector, detections: Sequence[Detection]) -> Mapping[str, Any]:
    evidence, solver, damping = detector
    return {
        "wrong": share,
        "evidence": evidence,
        "solver": solver,
        "damping": damping,
        "auc": _over_models([own.auc for own in detections]),
        "found": {
            str(inspected): _over_models([own.found[inspected] for own in detections])
            for inspected in INSPECTED
        },
    }


def _over_models(values: Sequence[float]) -> Dict[str, float]:
    return {"mean": float(numpy.mean(values)), "min": min(values), "max": max(values)}
