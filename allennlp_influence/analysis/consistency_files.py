"""The consistency of saliency and influence, as files."""

import json
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

from allennlp.common.util import JsonDict

from allennlp_influence.analysis.consistency import (
    HELD,
    INFLUENCE_SHARES,
    OVERLAP_SHARES,
    PREDICTED,
    Row,
    TokenResult,
)
from allennlp_influence.analysis.tables import csv_text
from allennlp_influence.influence.results import write_whole

SUMMARY_JSON, SUMMARY_CSV, TOKENS_CSV = "consistency.json", "consistency.csv", "tokens.csv"


def write_consistency(
    directory: Path,
    rows: Sequence[Row],
    results: Sequence[TokenResult],
    explanations: Sequence[JsonDict],
    settings: Mapping[str, Any],
) -> None:
    """
    Writes the table as JSON, with the settings it was made with, and as CSV; and for each chosen token of each input
    what went into it, as CSV.
    """
    table = [_row(row) for row in rows]
    tokens = [_token(result, explanations[result.row]) for result in results]
    content = {**settings, "table": table, "tokens": tokens}
    write_whole(directory / SUMMARY_CSV, csv_text(table))
    write_whole(directory / TOKENS_CSV, csv_text(tokens))
    text = json.dumps(content, indent=2, ensure_ascii=False)
    write_whole(directory / SUMMARY_JSON, text + "\n")


def _row(row: Row) -> Dict[str, Any]:
    return {
        "experiment": row.experiment,
        "token": row.token,
        "top": row.top,
        "variant": row.variant,
        **row.estimate._asdict(),
    }


def _token(result: TokenResult, line: JsonDict) -> Dict[str, Any]:
    content = {
        "id": line["id"],
        "choice": result.choice,
        "token": result.token.text,
        "saliency": result.token.score,
        "explained": line["explained"],
        "predicted": line["predicted"],
        "predicted without": result.predicted_without,
    }
    for share, values in zip(INFLUENCE_SHARES, result.influence):
        content[f"examples in top {share:.0%}"] = len(values)
        content[f"mean z in top {share:.0%}"] = float(values.mean()) if len(values) else None
    for name, label in (("overlap", PREDICTED), ("overlap, label held", HELD)):
        for share, value in zip(OVERLAP_SHARES, result.overlap[label]):
            content[f"{name}, top {share:.1%}"] = value
    return content

