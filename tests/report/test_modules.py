"""The page's own modules, each by itself in a browser."""

import csv
import io
import math

import numpy
import pytest

from allennlp_influence.report import wording
from allennlp_influence.report.assets import _EXPORT, _STATIC, script
from tests.browser import chromium


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What an expression over the modules gives, with `x` for the argument."""
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        browser.get("about:blank")

        def value_of(module, expression, argument=None):
            exported = f'const {{ {", ".join(_EXPORT.findall(source(module)))} }} = modules["{module}"];'
            return browser.execute_script(
                f"{script(module)}{exported} const x = arguments[0]; return {expression};", argument
            )

        yield value_of


def source(module):
    return (_STATIC / module).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def numbers():
    generator = numpy.random.default_rng(3)
    sizes = 10.0 ** generator.uniform(-9, 7, size=300)
    return [*(sizes * generator.choice([-1, 1], size=300)).tolist(), 0.0, 1.0, 100.0, 0.1, 1e-3, 999.6, 0.995]


@pytest.mark.parametrize("digits", [2, 3])
def test_numbers_read_as_in_the_terminal(run, numbers, digits):
    found = run("format.js", f"x.map((value) => number(value, {digits}))", numbers)
    assert found == [wording.number(value, digits) for value in numbers]


@pytest.mark.parametrize(
    "name, of",
    [
        ("signed", wording.signed),
        ("zValue", wording.z_value),
        ("percent", wording.percent),
        ("probability", wording.probability),
    ],
)
def test_so_do_scores_and_shares(run, numbers, name, of):
    values = numbers
    if name in ("percent", "probability"):
        generator = numpy.random.default_rng(4)
        values = [*generator.random(200).tolist(), 0.0, 1.0, 1e-5, 0.9995, 0.9951, 0.006]
    assert run("format.js", f"x.map((value) => {name}(value))", values) == list(map(of, values))


def test_a_change_of_the_loss_as_one_of_confidence(run):
    def after(p, change):
        return run("confidence.js", "confidenceAfter(...x)", [-math.log(p), change])

    def change(p, change):
        return run("confidence.js", "changeOfConfidence(...x)", [-math.log(p), change])

    for p in (0.01, 0.5, 0.93, 0.9999):
        assert after(p, 0) == pytest.approx(p, rel=1e-12)
        # −p ΔL to first order, whichever way it is computed
        for small in (1e-9 * (1 - p), 1e-5 * (1 - p)):
            assert change(p, small) == pytest.approx(-p * small, rel=1e-4)
            assert change(p, -small) == pytest.approx(p * small, rel=1e-4)
        # never out of [0, 1], whatever was ticked
        assert 0 <= after(p, 100) < p < after(p, -100) <= 1
    assert run("confidence.js", "confidenceAfter(...x)", [0.0, 0.1]) == 1  # a loss that is rounded to zero
    # by the margin, at p = 1/2: Δm = −0.1 / 0.5
    assert after(0.5, 0.1) == pytest.approx(1 / (1 + math.exp(0.2)))


def test_words_and_near_duplicates(run):
    assert run("words.js", "[...wordsOf(x)]", ["Don’t SAY “עברית” x_1, naïve!"]) == ["don’t", "say", "עברית", "x_1", "naïve"]
    text = "It’s a  TEST — 中文."
    parts = run("words.js", "partsOf(x)", text)
    assert "".join(part for part, _ in parts) == text
    assert [word for _, word in parts if word] == ["it’s", "a", "test", "中文"]
    texts = ["a b c d e", "p q", "A, B, c, d!", "q p", "a b c"]  # 4 of 5 words shared; 3 of 5
    grouped = run("words.js", "grouped(x, (text) => wordsOf([text]))", texts)
    assert grouped == [["a b c d e", "A, B, c, d!"], ["p q", "q p"], ["a b c"]]
    assert run("words.js", "grouped(['', '!'], (text) => wordsOf([text]))") == [["", "!"]]


def test_no_cell_is_a_formula_and_every_text_comes_back(run):
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", 'a "quoted", text', "two\nlines", "", "plain −1"]
    cells = run("download.js", "x.map(cell)", texts)
    (read,) = csv.reader(io.StringIO(",".join(cells), newline=""))
    assert read[:4] == ["'=1+1", "'+1", "'-1", "'@SUM(A1)"] and read[4:] == texts[4:]
    assert run("download.js", "cell(x)", None) == "" and run("download.js", "cell(x)", -0.5) == "-0.5"


def test_search_filter_and_order(run):
    queries = [
        {"id": 1, "summary": "A Good film", "outcome": "right", "predicted": "a", "loss": 0.1, "confidence": 0.9, "mass": {"positive": 0.5}},
        {"id": 2, "summary": "a bad film", "outcome": "wrong", "predicted": "b", "loss": 0.7, "confidence": 0.5, "mass": {"positive": 0.9}},
        {"id": 12, "summary": "good, 2 times", "outcome": "no gold label", "predicted": "b", "loss": 0.1, "confidence": 0.6, "mass": {"positive": 0.1}},
    ]

    def ids(**how):
        how = {"search": "", "outcome": "all", "label": "", "order": "as given", **how}
        return run("query_list.js", "chosen(...x).map(({ id }) => id)", [queries, how])

    assert ids() == [1, 2, 12]
    assert ids(search="GOOD") == [1, 12] and ids(search="film a") == [1, 2] and ids(search="12") == [12]
    assert ids(search="2") == [2, 12]  # by its id, and in its text
    assert ids(outcome="wrong") == [2] and ids(label="b") == [2, 12]
    assert ids(order="highest loss") == [2, 1, 12] and ids(order="lowest loss") == [1, 12, 2]
    assert ids(order="least confident") == [2, 12, 1] and ids(order="most confident") == [1, 12, 2]
    assert ids(order="influence most concentrated") == [2, 1, 12]
    assert ids(order="influence least concentrated") == [12, 1, 2]
