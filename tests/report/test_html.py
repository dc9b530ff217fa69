"""The page shows what stands in the files, all of it, and nothing in a text can act on the reader's browser."""

import json
import re
from html.parser import HTMLParser

import numpy
import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.report import write_report
from allennlp_influence.report.histogram import histogram_of, mass_share

from .conftest import HOSTILE, NUM_TRAIN, TOP_K

VOID = {"meta", "img", "br", "hr", "link", "input", "line", "path", "circle"}


class Page(HTMLParser):
    """Elements with their attributes, text by element id, and whether every element is closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.open = []
        self.texts = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes).get("id")))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        for _, name in self.open:
            self.texts[name] = self.texts.get(name, "") + data

    def attributes(self, name):
        return [a[name] for _, a in self.elements if name in a]

    def values(self, kind):
        return [float(a["value"]) for t, a in self.elements if t == "data" and a.get("class") == kind]


def explanations(results):
    with open(results / "explanations.jsonl") as file:
        return [json.loads(line) for line in file]


@pytest.fixture
def page(results):
    path = write_report(results)
    assert path == results / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_nothing_in_a_text_becomes_markup(page):
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "b>", "i>", "iframe", "object", "link", "form", "base"}
    assert page.open == []
    assert not [name for _, a in page.elements for name in a if name.startswith("on")]
    # the hostile texts are there, as text
    assert HOSTILE[0] in page.texts["query-1"]
    assert HOSTILE[2] in page.texts["query-1"]
    assert HOSTILE[4].strip() in page.texts["query-13"].replace("\n", "")


def test_no_character_acts_on_the_screen(results):
    text = write_report(results).read_text(encoding="utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert "👩‍👩‍👧 emoji, עברית, 中文" in text


def test_it_needs_no_network(page, results):
    assert all(href.startswith("#") for href in page.attributes("href"))
    assert not page.attributes("src") and not page.attributes("action")
    assert not re.search(r"url\(|@import|https?://", (results / "report.html").read_text())
    # and the browser is told to refuse whatever slipped through
    assert any("default-src 'none'" in content for content in page.attributes("content"))


def test_every_query_has_its_anchor_and_links_lead_somewhere(page, results):
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {f"query-{line['id']}" for line in explanations(results)} <= set(ids)
    links = {href.removeprefix("#") for href in page.attributes("href")}
    assert links and links <= set(ids)


def test_the_numbers_are_those_of_the_files(page, results):
    lines = explanations(results)
    listed = [x for line in lines for x in (*line["supporters"], *line["opponents"])]
    assert len(listed) == 2 * TOP_K * len(lines)
    for kind in ("id", "z", "score", "loss"):
        assert page.values(kind) == [x[kind] for x in listed]
    plain = page.values(None)
    for line in lines:
        words = line["saliency"]["words"] if line["saliency"] else []
        assert {line["loss"], *line["probabilities"], *(w["score"] for w in words)} <= set(plain)
    scores = numpy.load(results / "scores.npy").astype(float)
    for line, row in zip(lines, scores):
        positive, negative = row[row > 0], row[row < 0]
        top = sum(x["score"] for x in line["supporters"]) / positive.sum()
        bottom = sum(x["score"] for x in line["opponents"]) / negative.sum()
        text = page.texts[f"query-{line['id']}"]
        assert f"The top {TOP_K} carry {top:.0%} of the positive mass".replace("%", " %") in text
        assert f"the bottom {TOP_K} {bottom:.0%} of the negative".replace("%", " %") in text


def test_every_training_example_is_in_the_histogram(results):
    row = numpy.load(results / "scores.npy")[0]
    histogram = histogram_of(row, [])
    heights = numpy.array([float(h) for h in re.findall(r"v-([\d.]+)", _bars(histogram))])
    # heights are log(1 + count) up to a factor, and the tallest bar is one of whole counts
    for tallest in range(1, NUM_TRAIN + 1):
        counts = numpy.expm1(heights / heights.max() * numpy.log1p(tallest))
        if numpy.allclose(counts, counts.round(), atol=0.05) and round(counts.sum()) == NUM_TRAIN:
            break
    else:
        pytest.fail("the bars do not add up to the number of training examples")


def _bars(histogram):
    return histogram.opposing + histogram.supporting


@pytest.mark.parametrize("row", [[0.0, 0.0], [2e-5, 2e-5], [-1e-9], [1e-3, 2e-3], [-1e-3, 0.0]])
def test_a_histogram_of_few_or_equal_scores(row):
    histogram = histogram_of(numpy.array(row), row)
    places = [place for place, _ in histogram.marks] + [histogram.zero]
    assert all(0 <= place <= histogram.width for place in places)
    assert "nan" not in _bars(histogram)
    assert mass_share(numpy.array(row), row) == (1.0 if max(row) > 0 else 0.0)


def test_words_lie_over_the_original_text(page):
    words = [
        (a["class"], a["title"], float(a["style"].removeprefix("--a:")))
        for tag, a in page.elements
        if tag == "span" and "title" in a and a.get("class") in ("sup", "opp")
    ]
    # the scale is the strongest word's; a word of score 0 has no colour
    assert words[:4] == [
        ("sup", "+1.00e−1", 0.2),
        ("opp", "−5.00e−1", 1.0),
        ("sup", "+2.00e−1", 0.4),
        ("sup", "+5.00e−2", 0.1),
    ]
    assert "a sometimes tedious film ." in page.texts["query-1"]
    assert "cut off before the model read it" in page.texts["query-13"]
    assert "The words were not scored" in page.texts["query-10"]
    assert "cut off" not in page.texts["query-1"]


def test_shared_words_are_underlined_whatever_their_case(results):
    text = write_report(results).read_text(encoding="utf-8")
    first = text.split('<article id="query-')[1]
    assert "is <u>a</u> <u>TEDIOUS</u> <u>film</u>" in first
    assert "<u>Training</u>" not in first


def test_what_was_not_solved_is_said(page):
    assert "NOT solved to the tolerance" in page.texts["query-13"]
    assert "Solved to a residual of 3e−4 in 4 steps" in page.texts["query-1"]
    assert "1 of 5 linear systems" in page.texts[None]


@pytest.mark.parametrize("name", ["provenance.json", "explanations.jsonl", "scores.npy", "ids.json"])
def test_a_missing_file_is_named_and_nothing_is_written(results, name):
    (results / name).unlink()
    with pytest.raises(ConfigurationError, match=re.escape(name)):
        write_report(results)
    assert not list(results.glob("report*"))


@pytest.mark.parametrize(
    "name, content",
    [
        ("provenance.json", '{"command": "something else"}'),
        ("provenance.json", "[]"),
        ("explanations.jsonl", '{"id": 1}\n' * 5),
        ("explanations.jsonl", "3\n" * 5),
        ("ids.json", "[1, 2]"),
        ("ids.json", json.dumps({"query_ids": [9] * 5, "train_ids": list(range(NUM_TRAIN))})),
    ],
)
def test_a_foreign_file_is_named(results, name, content):
    (results / name).write_text(content)
    with pytest.raises(ConfigurationError, match=re.escape(name)):
        write_report(results)


def test_scores_that_are_not_finite_are_refused(results):
    scores = numpy.load(results / "scores.npy")
    scores[2, 5] = numpy.nan
    numpy.save(results / "scores.npy", scores)
    with pytest.raises(ConfigurationError, match="scores.npy: row 3"):
        write_report(results)
