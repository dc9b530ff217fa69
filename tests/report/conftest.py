"""A result directory of five made-up queries and 200 training examples, some of them hostile."""

import json
import re
from pathlib import Path

import numpy
import pytest

NUM_TRAIN = 200
TOP_K = 4

HOSTILE = [
    "</style></title></script><!--<script>alert('query')</script>\u2028<img src=x onerror=alert(1)>",
    "right-to-left \u202eoverride and \x1b[31man escape\x1b[0m, \x07 bell, \x00 zero",
    'quotes "double" \'single\' `back` & ampersand &lt;script&gt; {{ 7 * 7 }} {% raw %}',
    "👩‍👩‍👧 emoji, עברית, 中文, combining é, half a pair \ud83d",
    "a long tale " + "of one more word " * 600,
]


def score(text, value, field="sentence"):
    return {"text": text, "score": value, "field": field}


def make_results(directory: Path) -> Path:
    """Writes the files of a result directory without a report."""
    generator = numpy.random.default_rng(7)
    scores = (generator.standard_t(3, size=(5, NUM_TRAIN)) * 1e-4).astype(numpy.float32)
    train_texts = [f"Training sentence {i} is a TEDIOUS film" for i in range(NUM_TRAIN)]
    train_texts[:5] = HOSTILE
    scores[:, :5] = 9e-3 + 1e-3 * generator.random((5, 5))  # so that they are listed
    queries = [
        {"sentence": "a sometimes tedious film ."},
        {"sentence": HOSTILE[0]},
        {"premise": HOSTILE[1], "hypothesis": HOSTILE[2]},
        {"sentence": HOSTILE[3]},
        {"sentence": HOSTILE[4]},
    ]
    saliencies = [
        {
            "tokens": ["[CLS]", "a", "sometimes", "tedious", "film", ".", "[SEP]"],
            "scores": [0.1, 0.0, 0.1, -0.5, 0.2, 0.05, 0.05],
            "words": [
                score("a", 0.0),
                score("sometimes", 0.1),
                score("tedious", -0.5),
                score("film", 0.2),
                score(".", 0.05),
            ],
        },
        {"tokens": ["<script>"], "scores": [1.0], "words": [score("<script>", 1.0)]},
        {
            "tokens": ["right", "quotes"],
            "scores": [0.25, -0.75],
            "words": [score("right", 0.25, "premise"), score("quotes", -0.75, "hypothesis")],
        },
        None,
        {
            "tokens": ["a", "long"],
            "scores": [0.5, 0.5],
            "words": [score("a", 0.5), score("long", 0.5)],
        },
    ]
    labels = ["negative", "positive<b>"]

    def attribution(text):
        words = re.findall(r"\w+", text)[:40]
        return {"words": [score(word, (-1) ** i * 1e-4 * (i + 1)) for i, word in enumerate(words)]}

    def listed(row, positions, with_words):
        z = (row - row.mean(dtype="float64")) / row.std(dtype="float64")
        return [
            {
                "rank": rank,
                "id": int(i) + 1,
                "text": {"sentence": train_texts[i]},
                "label": labels[i % 2],
                "loss": 0.01 * int(i),
                "score": float(row[i]),
                "z": float(z[i]),
                "token_attribution": attribution(train_texts[i]) if with_words else None,
            }
            for rank, i in enumerate(positions, start=1)
        ]

    lines = []
    for q, (text, saliency, row) in enumerate(zip(queries, saliencies, scores)):
        order = numpy.argsort(-row, kind="stable")
        lines.append(
            {
                "id": 3 * q + 1,
                "text": text,
                "columns": {"subcase": "<i>ln</i>"} if q == 2 else {},
                "gold": [labels[0], labels[1], labels[0], None, labels[0]][q],
                "predicted": labels[q % 2],
                "explained": labels[0] if q == 3 else labels[q % 2],
                "labels": labels,
                "probabilities": [0.91, 0.09] if q % 2 == 0 else [0.2, 0.8],
                "loss": 0.0943,
                "saliency": saliency,
                "mean": float(row.mean(dtype="float64")),
                "std": float(row.std(dtype="float64")),
                "supporters": listed(row, order[:TOP_K], q == 0),
                "opponents": listed(row, order[::-1][:TOP_K], q == 0),
                "diagnosis": {
                    "residual": 3e-4,
                    "steps": 4,
                    "converged": q != 4,
                    "lambda_max": 72.0,
                    "lambda_min": -6.4,
                },
            }
        )
    provenance = {
        "command": "allennlp influence model.tar.gz test.tsv -s <out>",
        "archive": {"path": "model.tar.gz"},
        "train_data": {"path": "train<1>.tsv", "examples": NUM_TRAIN},
        "input": {"path": "test.tsv", "examples": 5},
        "versions": {"torch": "2.11.0"},
        "seed": 0,
        "solver": {"type": "conjugate-gradient"},
        "damping": 30.0,
        "damping_chosen_by": {"by": "user"},
        "curvature": {"kind": "hessian", "examples": 200, "lambda_max": 72.0, "lambda_min": -6.4},
        "normalisation": None,
        "no_self_influence": None,
        "self_checks": {
            "asymmetry": 2e-7,
            "derivative_error": 8e-4,
            "rank_agreement_with_identity": [0.9, 0.98, 0.95],
            "rank_agreement_with_half_of_the_curvature": [0.99, 0.97, 0.999],
            "rank_agreement_with_float32": [0.9999, 0.9998],
        },
        "trained_parameters": {"tensors": 36, "count": 3698306, "names": ["a", "b"]},
        "device": "cpu",
        "stages": [{"name": "solver", "seconds": 12.5}, {"name": "saliency", "seconds": 0.5}],
        "peak_memory_gb": 1.7,
        "warnings": ["a <script>warning</script>"],
        "inputs": {"archive": "0" * 64, "train_data": "1" * 64, "input": "2" * 64},
    }
    directory.mkdir()
    with open(directory / "explanations.jsonl", "w", encoding="ascii") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
    numpy.save(directory / "scores.npy", scores)
    ids = {"query_ids": [line["id"] for line in lines], "train_ids": list(range(1, NUM_TRAIN + 1))}
    (directory / "ids.json").write_text(json.dumps(ids))
    with open(directory / "training_examples.jsonl", "w", encoding="ascii") as file:
        for i, text in enumerate(train_texts):
            confidence = 0.5 + 0.4 * (i % 7) / 7
            agrees = i % 10 > 0
            of_label = confidence if agrees else 1 - confidence
            example = {
                "id": i + 1,
                "text": {"sentence": text},
                "label": labels[i % 2],
                "columns": {},
                "predicted": labels[i % 2 if agrees else 1 - i % 2],
                "probabilities": [of_label, 1 - of_label][:: 1 if i % 2 == 0 else -1],
                "loss": 0.01 * i,
                "self_influence": 1e-3 * (i * 37 % NUM_TRAIN),  # a permutation
            }
            file.write(json.dumps(example) + "\n")
    (directory / "provenance.json").write_text(json.dumps(provenance))
    return directory


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return make_results(tmp_path / "results")
