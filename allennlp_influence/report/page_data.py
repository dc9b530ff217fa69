"""What the page shows, as JSON: every text once, the scores that are listed, all the others as histograms."""

from collections import Counter
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy
from allennlp.common.util import JsonDict

from allennlp_influence.influence.explanation import z_scores
from allennlp_influence.influence.results import Results
from allennlp_influence.report.histogram import MASS_OF, histogram_by_class, mass_shares
from allennlp_influence.report.texts import scored_spans, scored_texts, texts_in_json, visible
from allennlp_influence.report.wording import diagnosis_in_words

_NUM_LABEL_ERRORS = 200
_NUM_HUBS = 100
_MOST_ROWS = 6


def page_data(results: Results) -> JsonDict:
    """
    Texts are made `visible`, labels are indices into `labels`, and training examples indices into `examples`, whose
    columns hold those that are shown anywhere.
    """
    lines, training = results.explanations, results.training_examples
    labels = list(dict.fromkeys([*lines[0]["labels"], *(example["label"] for example in training)]))
    names, rows = rows_of_histograms([example["label"] for example in training], labels)
    position_of = {id: position for position, id in enumerate(results.train_ids)}
    measure, doubt = _doubt_of_labels(training)

    energy = numpy.zeros(len(training))
    histograms, masses = [], []
    for row in results.scores:
        energy += z_scores(row) ** 2
        histograms.append(histogram_by_class(row, rows, len(names)))
        masses.append(mass_shares(row))
    rms = numpy.sqrt(energy / len(lines))

    listed = {
        side: [[position_of[item["id"]] for item in line[side]] for line in lines]
        for side in ("supporters", "opponents")
    }
    label_errors = numpy.argsort(-doubt, kind="stable")[:_NUM_LABEL_ERRORS].tolist()
    hubs = numpy.argsort(-rms, kind="stable")[:_NUM_HUBS].tolist()
    shown = sorted({*label_errors, *hubs, *(p for side in listed.values() for own in side for p in own)})
    place = {position: index for index, position in enumerate(shown)}

    return {
        "run": _run(results.provenance, len(training), measure),
        "labels": [visible(label) for label in labels],
        "rows": [visible(name) for name in names],
        "fields": [visible(field) for field in training[0]["text"]],
        "examples": _columns([training[p] for p in shown], labels, shares_below(doubt)[shown]),
        "queries": [
            _query(line, results.provenance, labels, histogram, mass, _listed(line, place, position_of))
            for line, histogram, mass in zip(lines, histograms, masses)
        ],
        "labelErrors": [place[position] for position in label_errors],
        "hubs": _hubs(hubs, place, rms, listed),
    }


def _run(provenance: Mapping[str, Any], num_training: int, measure: str) -> JsonDict:
    return {
        "trainingExamples": num_training,
        "normalisation": provenance.get("normalisation"),
        "massOf": min(MASS_OF, num_training),
        "suspicion": measure,
    }


def rows_of_histograms(
    own: Sequence[str], labels: Sequence[str]
) -> Tuple[List[str], numpy.ndarray]:
    """The names of a histogram's rows, the rarest labels together if there are many, and the row of each `(N,)`."""
    commonest = Counter(own).most_common(None if len(set(own)) <= _MOST_ROWS else _MOST_ROWS - 1)
    names = sorted((label for label, _ in commonest), key=labels.index)
    row_of = {label: row for row, label in enumerate(names)}
    if len(names) < len(set(own)):
        names.append("other labels")
    return names, numpy.array([row_of.get(label, len(names) - 1) for label in own])


def _doubt_of_labels(training: Sequence[JsonDict]) -> Tuple[str, numpy.ndarray]:
    """How doubtful every label is `(N,)`, by self-influence or, where the run has none, by the loss, and which of them."""
    strengths = [example["self_influence"] for example in training]
    if all(strength is not None for strength in strengths):
        return "self-influence", numpy.array(strengths)
    return "loss", numpy.array([example["loss"] for example in training])


def shares_below(values: numpy.ndarray) -> numpy.ndarray:
    """The share of smaller values, for each."""
    return numpy.searchsorted(numpy.sort(values), values) / len(values)


def _columns(
    training: Sequence[JsonDict], labels: Sequence[str], shares: numpy.ndarray
) -> Dict[str, List[Any]]:
    return {
        "id": [example["id"] for example in training],
        "texts": [[visible(text) for text in example["text"].values()] for example in training],
        "label": [labels.index(example["label"]) for example in training],
        "predicted": [labels.index(example["predicted"]) for example in training],
        "p": [_short(max(example["probabilities"])) for example in training],
        "loss": [_short(example["loss"]) for example in training],
        "selfInfluence": [
            None if example["self_influence"] is None else _short(example["self_influence"])
            for example in training
        ],
        "percentile": [_short(share) for share in shares],
    }


def _query(
    line: JsonDict,
    provenance: Mapping[str, Any],
    labels: Sequence[str],
    histogram: JsonDict,
    mass: JsonDict,
    listed: JsonDict,
) -> JsonDict:
    saliency = line["saliency"]
    return {
        "id": line["id"],
        "texts": texts_in_json(line["text"], saliency["words"] if saliency else None),
        "hasSaliency": saliency is not None,
        "gold": None if line["gold"] is None else visible(line["gold"]),
        "predicted": labels.index(line["predicted"]),
        "explained": labels.index(line["explained"]),
        "probabilities": line["probabilities"],
        "loss": line["loss"],
        "columns": {visible(name): visible(str(value)) for name, value in line["columns"].items()},
        "mean": line["mean"],
        "std": line["std"],
        "histogram": histogram,
        "mass": mass,
        "converged": line["diagnosis"]["converged"],
        "diagnosis": diagnosis_in_words(
            line["diagnosis"], provenance["damping"], provenance["solver"]["type"]
        ),
        **listed,
    }


def _listed(line: JsonDict, place: Mapping[int, int], position_of: Mapping[int, int]) -> JsonDict:
    return {
        side: [
            [place[position_of[item["id"]]], _float32(item["score"]), *_attribution(item)]
            for item in line[side]
        ]
        for side in ("supporters", "opponents")
    }


def _attribution(item: JsonDict) -> List[List[List[float]]]:
    """Of a listed training example the `scored_spans` of each of its texts; nothing if its words were not scored."""
    attribution = item.get("token_attribution")
    if attribution is None:
        return []
    texts = scored_texts(item["text"], attribution["words"])
    if ["".join(part for part, _ in t.parts) + t.unread for t in texts] != [*item["text"].values()]:
        return []  # the model's words are not those of the text
    return [[[_short(number) for number in scored_spans(text)] for text in texts]]


def _hubs(
    hubs: Sequence[int], place: Mapping[int, int], rms: numpy.ndarray, listed: Mapping[str, List[List[int]]]
) -> List[List[Any]]:
    """Index, root mean square of its z-scores, and shares of the queries whose supporters and opponents it is among."""
    count = {side: Counter(p for own in rows for p in set(own)) for side, rows in listed.items()}
    num_queries = len(listed["supporters"])
    return [
        [
            place[position],
            _short(rms[position]),
            _short(count["supporters"][position] / num_queries),
            _short(count["opponents"][position] / num_queries),
        ]
        for position in hubs
    ]


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _float32(value: float) -> float:
    """The shortest number that is the same in single precision, in which scores are kept."""
    return float(str(numpy.float32(value)))
