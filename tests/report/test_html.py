"""The page holds what stands in the files, as data, and nothing in a text can become markup or script."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy
import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.influence.results import open_results
from allennlp_influence.report import write_report
from allennlp_influence.report.page_data import page_data

from .conftest import NUM_TRAIN

VOID = {"meta", "input", "link", "img", "br", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, and the text of each, by its tag and id."""

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

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        for key in self.open:
            self.texts[key] = self.texts.get(key, "") + data

    def attributes(self, name):
        return [a[name] for _, a in self.elements if name in a]


@pytest.fixture
def page(results):
    path = write_report(results)
    assert path == results / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_nothing_in_a_text_becomes_markup(page):
    scripts = [a for tag, a in page.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"img", "b>", "i>", "iframe", "object", "link", "base"}
    assert page.open == []
    attributes = [name for _, a in page.elements for name in a]
    assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_the_data_are_those_of_the_files(page, results):
    data = json.loads(page.texts["script", "data"])
    assert data == {**page_data(open_results(results)), "artifacts": None}


def test_no_character_acts_on_the_screen(page, results):
    data = json.dumps(json.loads(page.texts["script", "data"]), ensure_ascii=False)
    for text in (data, (results / "report.html").read_text(encoding="utf-8")):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u2028\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert "👩‍👩‍👧 emoji, עברית, 中文" in data


def test_it_needs_no_network(page, results):
    assert all(href.startswith("#") for href in page.attributes("href"))
    assert not page.attributes("src") and not page.attributes("action")
    text = (results / "report.html").read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"url\(|@import|https?://", text)
    # the browser is told to refuse whatever slipped through, and all script but the page's own
    (policy,) = [content for content in page.attributes("content") if "default-src" in content]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    for kind, name in (("script", None), ("style", None)):
        digest = base64.b64encode(hashlib.sha256(page.texts[kind, name].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_a_run_without_self_influence_says_why(results):
    provenance = json.loads((results / "provenance.json").read_text())
    provenance["no_self_influence"] = "it would take a system for every <example>"
    (results / "provenance.json").write_text(json.dumps(provenance))
    text = write_report(results).read_text(encoding="utf-8")
    assert "this run has none: it would take a system for every &lt;example&gt;" in text


@pytest.mark.parametrize(
    "name",
    [
        "provenance.json",
        "explanations.jsonl",
        "scores.npy",
        "ids.json",
        "training_examples.jsonl",
    ],
)
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
        ("training_examples.jsonl", "".join(f'{{"id": {i + 1}}}\n' for i in range(NUM_TRAIN))),
        ("training_examples.jsonl", "3\n" * NUM_TRAIN),
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
