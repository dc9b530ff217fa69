"""Result directories with scores of one's choice."""

import json
from pathlib import Path
from typing import Dict, Optional, Sequence

import numpy

LABELS = ["0", "1"]


def make_results(
    directory: Path,
    scores: Sequence[Sequence[float]],
    texts: Sequence[str],
    labels: Optional[Sequence[str]] = None,
    predicted: Optional[Sequence[str]] = None,
    columns: Optional[Sequence[Dict[str, str]]] = None,
) -> Path:
    """
    A result directory of queries with these scores `(Q, N)`, predictions and columns, none of whose supporters and
    opponents are listed, and training examples with these texts and labels.
    """
    scores = numpy.array(scores, dtype=numpy.float32)
    directory.mkdir()
    numpy.save(directory / "scores.npy", scores)
    labels = labels or LABELS[:1] * len(texts)
    train = [
        {
            "id": i + 1,
            "text": {"sentence": text},
            "label": label,
            "columns": {"row": str(i)},
            "predicted": label,
            "probabilities": [0.5, 0.5],
            "loss": 0.7,
            "self_influence": None,
        }
        for i, (text, label) in enumerate(zip(texts, labels))
    ]
    queries = [
        {
            "id": 10 + q,
            "text": {"sentence": f"query {q} costs $5 and $6 ."},
            "columns": columns[q] if columns else {},
            "gold": None if q == 0 else "1",
            "predicted": predicted[q] if predicted else "1",
            "explained": predicted[q] if predicted else "1",
            "labels": LABELS,
            "probabilities": [0.25, 0.75],
            "loss": 0.29,
            "saliency": None,
            "mean": float(row.mean(dtype="float64")),
            "std": float(row.std(dtype="float64")),
            "supporters": [],
            "opponents": [],
            "diagnosis": {"residual": 0.0, "steps": 1, "converged": True},
        }
        for q, row in enumerate(scores)
    ]
    for name, lines in (("training_examples", train), ("explanations", queries)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (directory / f"{name}.jsonl").write_text(text)
    ids = {"query_ids": [q["id"] for q in queries], "train_ids": [t["id"] for t in train]}
    (directory / "ids.json").write_text(json.dumps(ids))
    provenance = {
        "inputs": {"train_data": "0" * 64},
        **{name: {"path": f"{name}.tsv"} for name in ("archive", "train_data", "input")},
        "solver": {"type": "identity"},
        "damping": 1.0,
        "damping_chosen_by": {"by": "user"},
        "stages": [],
        "warnings": [],
    }
    (directory / "provenance.json").write_text(json.dumps(provenance))
    return directory
