"""Tables as text."""

import csv
import io
from typing import Any, Mapping, Sequence


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV with a header, of at least one row; all have the keys of the first."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
