"""What an analysis of artifacts found, as JSON and as tables for other programs."""

import json
import math
from pathlib import Path
from typing import Any, Iterator, List, Mapping, Optional, Sequence

import numpy
from allennlp.common.util import JsonDict

from allennlp_influence.analysis.artifacts import ArtifactAnalysis, FeatureFits
from allennlp_influence.analysis.scales import Z
from allennlp_influence.analysis.tables import csv_text
from allennlp_influence.analysis.word_search import SIGNIFICANT, WordFit
from allennlp_influence.influence.results import write_whole

ARTIFACTS = "artifacts.json"
FITS = "fits.csv"
AVERAGES = "averages.csv"
WORDS = "words.csv"


def artifact_content(explanations: Sequence[JsonDict], analysis: ArtifactAnalysis) -> JsonDict:
    """
    Rows of the tables: `features`, what their values are like over the training examples; `fits`, of every feature,
    scale and query the coefficients of a + b z + c z², the ends of c's 95 % interval, and R²; `averages` of c. What can't be
    fitted is `None`.

    # Parameters

    explanations : `Sequence[JsonDict]`
        The queries: lines of the result directory.
    analysis : `ArtifactAnalysis`
    """
    features, fits = [], []
    for name, of_scales in analysis.fits.items():
        values = of_scales[Z].values
        extent = {"min": float(values.min()), "max": float(values.max())}
        spread = {"mean": float(values.mean()), "std": float(values.std())}
        features.append({"feature": name, **spread, **extent})
        for scale, fit in of_scales.items():
            for line, row in zip(explanations, _fit_rows(fit)):
                query = {key: line[key] for key in ("id", "text", "gold", "predicted", "columns")}
                fits.append({"feature": name, "scale": scale, **query, **row})
    averages = [average._asdict() for average in analysis.averages]
    return {"features": features, "fits": _finite(fits), "averages": _finite(averages)}


def _fit_rows(fit: FeatureFits) -> Iterator[JsonDict]:
    names = ("a", "b", "c", "low", "high", "r_squared")
    columns = numpy.column_stack([fit.coefficients, fit.intervals, fit.r_squared])
    for row in columns.tolist():
        yield dict(zip(names, row))


def word_rows(words: Sequence[WordFit], groups: Sequence[str]) -> List[JsonDict]:
    """Rows of the table of words, with the mean c over each group of queries, and whether a word is significant."""
    return [
        {
            "text": word.field,
            "word": word.word,
            "examples": word.num_examples,
            "p": word.p,
            "adjusted_p": word.adjusted_p,
            "significant": word.adjusted_p <= SIGNIFICANT,
            **{f"c, {group}": c for group, c in zip(groups, word.coefficients)},
        }
        for word in words
    ]


def write_artifact_files(
    directory: Path,
    content: JsonDict,
    words: Optional[Sequence[JsonDict]],
    provenance: Mapping[str, Any],
) -> None:
    """
    Writes artifacts.json, fits.csv, averages.csv and, with every word that was tried, words.csv.

    # Parameters

    directory : `Path`
    content : `JsonDict`
        See `artifact_content`.
    words : `Sequence[JsonDict]`, optional
        See `word_rows`; `None` if words were not searched.
    provenance : `Mapping[str, Any]`
    """
    found = {"provenance": provenance, **content}
    tables = {FITS: _flat(content["fits"]), AVERAGES: content["averages"]}
    if words is not None:
        found["words"] = [row for row in words if row["significant"]]
        tables[WORDS] = words
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(directory / ARTIFACTS, text + "\n")
    for name, rows in tables.items():
        if rows:
            write_whole(directory / name, csv_text(rows))


def _flat(fits: Sequence[JsonDict]) -> List[JsonDict]:
    """Without texts, and the queries' columns as columns: a JSON line may lack some."""
    names = dict.fromkeys(name for row in fits for name in row["columns"])
    return [
        {key: value for key, value in row.items() if key not in ("text", "columns")}
        | {f"column {name}": row["columns"].get(name, "") for name in names}
        for row in fits
    ]


def _finite(rows: Sequence[JsonDict]) -> List[JsonDict]:
    def value(x: Any) -> Any:
        return None if isinstance(x, float) and not math.isfinite(x) else x

    return [{key: value(x) for key, x in row.items()} for row in rows]
