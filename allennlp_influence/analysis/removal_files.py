"""What removing training examples changed, as files."""

import json
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

from allennlp.common.util import JsonDict

from allennlp_influence.analysis.removal import Change, Row
from allennlp_influence.analysis.tables import csv_text
from allennlp_influence.influence.results import write_whole

SUMMARY_JSON, SUMMARY_CSV, CHANGES_CSV = "removal.json", "removal.csv", "changes.csv"


def write_removal(
    directory: Path,
    rows: Sequence[Row],
    changes: Sequence[Change],
    explanations: Sequence[JsonDict],
    settings: Mapping[str, Any],
) -> None:
    """
    Writes the table as JSON, with the settings it was made with, and as CSV; and every change of every query under
    every seed as CSV.
    """
    summary = [_row(row) for row in rows]
    single = [_change(change, explanations[change.query]) for change in changes]
    write_whole(directory / SUMMARY_CSV, csv_text(summary))
    write_whole(directory / CHANGES_CSV, csv_text(single))
    content = json.dumps({**settings, "table": summary}, indent=2, ensure_ascii=False)
    write_whole(directory / SUMMARY_JSON, content + "\n")


def _row(row: Row) -> Dict[str, Any]:
    return {
        "removed": row.group,
        "versus": row.versus,
        "measure": row.measure,
        **row.estimate._asdict(),
    }


def _change(change: Change, line: JsonDict) -> Dict[str, Any]:
    rest = change._asdict()
    group, number = rest.pop("group"), rest.pop("removed")
    del rest["query"]
    return {
        "id": line["id"],
        "explained": line["explained"],
        "seed": rest.pop("seed"),
        "removed": group,
        "examples": number,
        **rest,
    }
