"""The summary in the terminal: readable with colours and without, and safe to print."""

import io
import json
import re

import numpy
from rich.console import Console

from allennlp_influence.report import print_summary


def summary(results, **kwargs):
    console = Console(file=io.StringIO(), width=80, **kwargs)
    print_summary(results, console)
    return console.file.getvalue()


def test_plain_where_there_is_no_terminal(results):
    text = summary(results)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    assert "words: tedious −0.50, film +0.20" in text
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines if "report.html" not in line)
    assert str(results / "report.html") in lines[-1]


def test_three_examples_at_either_end_and_all_five_queries(results):
    text = summary(results)
    assert text.count("supporting") == text.count("opposing") == 5
    assert len(re.findall(r"z +[+−]\d", text)) == 5 * 2 * 3
    with open(results / "explanations.jsonl") as file:
        for line in map(json.loads, file):
            for example in (*line["supporters"][:3], *line["opponents"][:3]):
                assert re.search(rf"^ *{example['id']}  \S+ +z", text, re.MULTILINE)


def test_colours_come_from_the_console_alone(results):
    text = summary(results, force_terminal=True, color_system="truecolor")
    assert "\x1b[30;48;2;230;85;13mtedious\x1b[0m" in text
    # the escape sequence that stands in a training text is not passed on
    assert "\x1b[31man escape" not in text and "\ufffd[31man escape" in text


def test_the_words_of_a_training_example_are_coloured_where_they_are_known(results):
    path = results / "explanations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    listed = lines[0]["supporters"][0]
    listed["text"] = {"sentence": "an easy day"}
    scores = {"an": 1e-5, "easy": -2e-5, "day": 0.0}
    words = [{"text": w, "score": s, "field": "sentence"} for w, s in scores.items()]
    listed["token_attribution"] = {"words": words}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = summary(results, force_terminal=True, color_system="truecolor")
    assert "\x1b[30;48;2;230;85;13measy\x1b[0m day" in text
    assert "an easy day" in summary(results)


def test_many_queries_are_cut_to_the_first(results):
    path = results / "explanations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines += [{**line, "id": line["id"] + 100} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = numpy.load(results / "scores.npy")
    numpy.save(results / "scores.npy", numpy.concatenate([scores, scores]))
    ids = json.loads((results / "ids.json").read_text())
    ids["query_ids"] = [line["id"] for line in lines]
    (results / "ids.json").write_text(json.dumps(ids))
    text = summary(results)
    assert text.count("supporting") == 3
    assert "7 more predictions" in text
