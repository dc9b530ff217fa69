"""The report of a result directory: one HTML file that needs nothing else."""

import json
import os
import shlex
from pathlib import Path
from typing import Any, List, Mapping, Optional

from jinja2 import Environment, PackageLoader, StrictUndefined

from allennlp_influence.analysis.artifacts import ArtifactAnalysis, group_name
from allennlp_influence.influence.results import Results
from allennlp_influence.report import wording
from allennlp_influence.report.artifact_data import artifact_data
from allennlp_influence.report.assets import content_hash, script, style
from allennlp_influence.report.checks import checks_in_words
from allennlp_influence.report.page_data import page_data
from allennlp_influence.report.results import PathLike, checked_results, checked_training_examples
from allennlp_influence.report.texts import visible

REPORT = "report.html"


def write_report(
    directory: PathLike,
    folder: Optional[PathLike] = None,
    artifacts: Optional[ArtifactAnalysis] = None,
    named: Optional[PathLike] = None,
) -> Path:
    """
    Writes `report.html` of a result directory, whole or not at all.

    # Parameters

    directory : `PathLike`
    folder : `PathLike`, optional (default = `directory`)
        Where to write it.
    artifacts : `ArtifactAnalysis`, optional
        Of the same results; the page then shows its curves and averages too.
    named : `PathLike`, optional (default = `directory`)
        What the result directory is called in the commands on the page, if it is to be renamed.

    # Returns

    `Path` of the page.

    # Raises

    `ConfigurationError` naming the file if the directory is not a complete result directory.
    """
    results = checked_results(directory)
    checked_training_examples(results)
    path = Path(folder or directory) / REPORT
    part = path.with_name(path.name + ".tmp")
    try:
        content = page(results, artifacts, named or directory)
        part.write_text(content, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def page(results: Results, artifacts: Optional[ArtifactAnalysis], named: PathLike) -> str:
    """The page of a checked result directory, see `write_report`."""
    environment = Environment(
        loader=PackageLoader("allennlp_influence.report"),
        autoescape=True,  # what stands in the data is text, never markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # `tojson` writes <, >, &, ' and all that is not ASCII as escapes: no text ends the script element it stands in
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters.update(
        visible=visible,
        number=wording.number,
        signed=wording.signed,
        plural=wording.plural,
        content_hash=content_hash,
        group_name=lambda average: group_name(average.by, average.group),
    )
    provenance = results.provenance
    return environment.get_template(REPORT).render(
        data={**page_data(results), "artifacts": artifacts and artifact_data(results, artifacts)},
        artifacts=artifacts,
        what_if_command=visible(f"allennlp what-if {shlex.quote(str(named))}"),
        script=script(),
        style=style(),
        provenance={"normalisation": None, **provenance},
        facts=_facts(provenance),
        checks=checks_in_words(provenance, results.explanations),
        raw_provenance=json.dumps(provenance, indent=2, ensure_ascii=False),
        num_training=len(results.train_ids),
        num_queries=len(results.query_ids),
        verdict=wording.verdict(results.explanations),
        no_self_influence=provenance.get("no_self_influence"),
    )


def _facts(provenance: Mapping[str, Any]) -> List[tuple]:
    """The provenance that a reader looks for first, as names and values; the rest is in the raw one."""
    inputs = provenance.get("inputs") or {}
    curvature = provenance.get("curvature") or {}
    trained = provenance.get("trained_parameters") or {}

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
        ("Self-influence", provenance.get("no_self_influence")),
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
