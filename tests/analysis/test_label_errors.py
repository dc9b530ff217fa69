"""What speaks against a label, by hand."""

import numpy
import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis.label_errors import label_errors, opposition

LABELS = ["neg", "none", "pos"]
ROWS = [  # label, probabilities, self-influence
    ("neg", [0.7, 0.2, 0.1], 0.2),
    ("pos", [0.6, 0.1, 0.3], 0.4),
    ("none", [0.1, 0.8, 0.1], 0.1),
    ("pos", [0.25, 0.4, 0.35], 0.4),
]


def lines(rows=ROWS):
    return [
        {
            "id": 10 + i,
            "text": {"sentence": f"text {i}"},
            "label": label,
            "columns": {},
            "predicted": LABELS[probabilities.index(max(probabilities))],
            "probabilities": probabilities,
            "loss": 1 - probabilities[LABELS.index(label)],
            "self_influence": self_influence,
        }
        for i, (label, probabilities, self_influence) in enumerate(rows)
    ]


def test_the_most_suspicious_come_first_with_all_evidence():
    suspects = label_errors(lines(), LABELS, opposing=[0.0, -1.0, 2.0, 1.0])
    assert [s.id for s in suspects] == [11, 13, 10, 12]  # of equals the earlier one
    assert [s.rank for s in suspects] == [1, 2, 3, 4]
    assert [s.percentile for s in suspects] == [50, 50, 25, 0]
    first = suspects[0]
    assert (first.label, first.predicted, first.probability) == ("pos", "neg", 0.6)
    assert first.text == {"sentence": "text 1"}
    assert (first.self_influence, first.opposing_influence) == (0.4, -1.0)
    assert first.loss == pytest.approx(0.7) and first.margin == pytest.approx(0.3)
    assert [s.margin for s in suspects[1:]] == pytest.approx([0.05, -0.5, -0.7])


def test_no_input_opposes_more_than_another_for_having_larger_gradients():
    scores = numpy.random.default_rng(0).normal(size=(3, 5))
    scaled = scores * numpy.array([[1e3], [1.0], [1e-3]])
    assert opposition(scaled) == pytest.approx(opposition(scores))
    assert opposition([numpy.array([1.0, 0.0, -1.0]), numpy.zeros(3)]) == pytest.approx(
        [-(1.5**0.5) / 2, 0, 1.5**0.5 / 2]
    )


@pytest.mark.parametrize(
    "by, ids",
    [
        ("loss", [11, 13, 10, 12]),
        ("margin", [11, 13, 10, 12]),
        ("opposing-influence", [12, 13, 10, 11]),
    ],
)
def test_other_evidence_ranks_otherwise(by, ids):
    suspects = label_errors(lines(), LABELS, by, opposing=[0.0, -1.0, 2.0, 1.0])
    assert [s.id for s in suspects] == ids


def test_the_margin_is_to_the_next_class_and_not_the_loss():
    rows = [("neg", [0.4, 0.39, 0.21], None), ("neg", [0.45, 0.5, 0.05], None)]
    by_loss = label_errors(lines(rows), LABELS, "loss")
    by_margin = label_errors(lines(rows), LABELS, "margin")
    assert [s.id for s in by_loss] == [10, 11] and [s.id for s in by_margin] == [11, 10]


def test_evidence_that_is_not_there_is_refused():
    rows = [(label, probabilities, None) for label, probabilities, _ in ROWS]
    for by, expected in (
        ("self-influence", "there is no self-influence"),
        ("opposing-influence", "there is no opposing-influence"),
        ("looks", "'looks' is none of self-influence, opposing-influence, loss, margin"),
    ):
        with pytest.raises(ConfigurationError, match=expected):
            label_errors(lines(rows), LABELS, by)
