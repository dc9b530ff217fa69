"""The report of a result directory: one HTML file that needs nothing else."""

import json
import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

import numpy
from allennlp.common.util import JsonDict
from jinja2 import Environment, PackageLoader, StrictUndefined

from allennlp_influence.influence.results import Results
from allennlp_influence.report import wording
from allennlp_influence.report.colour import share_of
from allennlp_influence.report.histogram import histogram_of, mass_share
from allennlp_influence.report.results import PathLike, checked_results
from allennlp_influence.report.texts import scored_texts, split_at_shared, visible, words_of

REPORT = "report.html"
_LONG_TEXT = 600  # characters, from which on a text is folded


def write_report(directory: PathLike) -> Path:
    """
    Writes `report.html` of a result directory, whole or not at all.

    # Returns

    `Path` of the page.

    # Raises

    `ConfigurationError` naming the file if the directory is not a complete result directory.
    """
    results = checked_results(directory)
    path = results.directory / REPORT
    part = path.with_name(path.name + ".tmp")
    try:
        part.write_text(_page(results), encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _page(results: Results) -> str:
    environment = Environment(
        loader=PackageLoader("allennlp_influence.report"),
        autoescape=True,  # what stands in the data is text, never markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        visible=visible,
        number=wording.number,
        signed=wording.signed,
        z_value=wording.z_value,
        percent=wording.percent,
        probability=wording.probability,
        plural=wording.plural,
        outcome=wording.outcome,
    )
    provenance = results.provenance
    return environment.get_template(REPORT).render(
        provenance=provenance,
        facts=_facts(provenance),
        raw_provenance=json.dumps(provenance, indent=2, ensure_ascii=False),
        num_training=len(results.train_ids),
        verdict=wording.verdict(results.explanations),
        normalisation=provenance.get("normalisation"),
        long_text=_LONG_TEXT,
        queries=[
            _query(line, row, provenance["damping"], provenance["solver"]["type"])
            for line, row in zip(results.explanations, results.scores)
        ],
    )


def _query(
    line: JsonDict, scores: numpy.ndarray, damping: float, solver: str
) -> Dict[str, Any]:
    """What the template shows of one query."""
    words = line["saliency"]["words"] if line["saliency"] else None
    scale = max((abs(word["score"]) for word in words or ()), default=0.0)
    shared = frozenset().union(*(words_of(text) for text in line["text"].values()))
    supporters, opponents = line["supporters"], line["opponents"]
    listed = [influence["score"] for influence in (*supporters, *opponents)]
    widest = max(map(abs, listed), default=0.0)
    return {
        **line,
        "summary": " ‖ ".join(line["text"].values()),
        "words": words,
        "scale": scale,
        "texts": [
            (
                text.field,
                [
                    (part, score, None if score is None else share_of(score, scale))
                    for part, score in text.parts
                ],
                text.unread,
            )
            for text in scored_texts(line["text"], words)
        ],
        "classes": sorted(zip(line["labels"], line["probabilities"]), key=lambda pair: -pair[1]),
        "probability": dict(zip(line["labels"], line["probabilities"]))[line["predicted"]],
        "widest": widest,
        "columns_of_examples": [
            ("supports", "Supporting", "support", _listed(supporters, shared, widest)),
            ("opposes", "Opposing", "oppose", _listed(opponents, shared, widest)),
        ],
        "histogram": histogram_of(scores, listed),
        "supporting_mass": mass_share(scores, [x["score"] for x in supporters]),
        "opposing_mass": mass_share(-scores, [-x["score"] for x in opponents]),
        "diagnosis_in_words": wording.diagnosis_in_words(line["diagnosis"], damping, solver),
    }


def _listed(
    influences: Sequence[JsonDict], shared: frozenset, widest: float
) -> List[Dict[str, Any]]:
    """Training examples with the parts of their texts and the lengths of their bars."""
    return [
        {
            **influence,
            "bar": 100 * share_of(abs(influence["score"]), widest),
            "texts": [
                (field, text, list(split_at_shared(text, shared)))
                for field, text in influence["text"].items()
            ],
        }
        for influence in influences
    ]


def _facts(provenance: Mapping[str, Any]) -> List[tuple]:
    """The provenance that a reader looks for first, as names and values; the rest is in the raw one."""
    inputs = provenance.get("inputs") or {}
    curvature = provenance.get("curvature") or {}
    trained = provenance.get("trained_parameters") or {}
    checks = provenance.get("self_checks")

    def source(name: str) -> str:
        digest = provenance[name].get("sha256") or inputs.get(name)
        return f"{provenance[name]['path']}" + (f", sha256 {digest}" if digest else "")

    solver = dict(provenance["solver"])
    settings = ", ".join(f"{key} {value}" for key, value in solver.items() if key != "type")
    facts = [
        ("Command", provenance.get("command")),
        ("Archive", source("archive")),
        ("Training data", source("train_data")),
        ("Inputs", source("input")),
        ("Solver", solver.get("type", "") + (f" ({settings})" if settings else "")),
        ("Damping λ", wording.number(provenance["damping"], 3)),
        ("Curvature", curvature and f"{curvature['kind']} of {curvature['examples']:,} examples"),
        ("λ_max met", _optional(curvature.get("lambda_max"))),
        ("λ_min met", _optional(curvature.get("lambda_min"))),
        ("Normalisation", provenance.get("normalisation")),
        ("Self-checks", checks and wording.self_checks(checks)),
        (
            "Trained parameters",
            f"{trained['count']:,} in {trained['tensors']:,} tensors" if trained else None,
        ),
        ("Device", provenance.get("device")),
        ("Peak memory", _optional(provenance.get("peak_memory_gb"), " GB")),
    ]
    return [(name, value) for name, value in facts if value]


def _optional(value: Any, unit: str = "") -> str:
    return "" if value is None else wording.number(value) + unit
