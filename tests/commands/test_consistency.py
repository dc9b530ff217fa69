"""`allennlp consistency`: what it writes, how it goes on after an end, and what it refuses."""

import argparse
import csv
import json

import numpy
import pytest

from allennlp_influence.analysis import masked_queries as masking
from allennlp_influence.analysis.salient_tokens import salient_tokens
from allennlp_influence.commands.consistency import ConsistencyCommand
from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.commands.reopening import Reopening
from allennlp_influence.influence import InfluenceFunctions, influence_functions
from allennlp_influence.influence.results import open_results
from tests.commands.test_influence import sst2_archive, write_tsv
from tests.influence.archives import TEXTS

INPUTS = ["a good film , sometimes .", "bad", "the man is tedious .", "not a good film", "good bad"]
FILES = {"consistency.json", "consistency.csv", "tokens.csv", "masked"}


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    before = influence_functions._MOST_QUERIES_AT_ONCE
    influence_functions._MOST_QUERIES_AT_ONCE = 4
    yield
    influence_functions._MOST_QUERIES_AT_ONCE = before


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_transformer) -> str:
    folder = tmp_path_factory.mktemp("consistency")
    archive = sst2_archive(folder, tiny_transformer("bert"))
    # ten times as many training examples, so that 1 % is one of them
    train = write_tsv(folder / "many.tsv", TEXTS * 10, "0100010001" * 10)
    inputs = write_tsv(folder / "dev.tsv", INPUTS, "01010")
    solver = {"type": "gauss-newton", "damping": 0.1}
    out = explain_archive(archive, str(inputs), str(folder / "out"), train_data=str(train), solver=solver)
    return str(out)


@pytest.fixture(scope="module")
def whole(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "out"
    run(results, "-s", str(folder))
    return folder


def run(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    ConsistencyCommand().add_subparser(parser.add_subparsers())
    args = parser.parse_args(["consistency", *arguments])
    args.func(args)


def test_what_it_writes(results, whole):
    assert {path.name for path in whole.iterdir()} == FILES
    content = json.loads((whole / "consistency.json").read_text())
    assert content["queries"] == 5 and content["queries_left_out"] == [2]  # "bad" alone
    with open(whole / "tokens.csv", newline="") as file:
        tokens = list(csv.DictReader(file))
    assert [(t["id"], t["choice"]) for t in tokens] == [
        (id, choice) for id in "1345" for choice in ("positive", "median", "negative")
    ]
    flips = {t["choice"]: [] for t in tokens}
    for token in tokens:
        flips[token["choice"]].append(token["predicted"] != token["predicted without"])
    assert 0 < sum(map(sum, flips.values()))  # so that the label held fixed is another one
    masked = open_results(whole / "masked").explanations
    assert content["masked_inputs"] == len(masked) == len({(m["row"], *m["positions"]) for m in masked})
    found = {(r["experiment"], r["token"], r["top"], r["variant"]): r for r in content["table"]}
    for choice, flipped in flips.items():
        row = found["flips", choice, None, "share of inputs"]
        assert row["value"] == pytest.approx(numpy.mean(flipped)) and row["n"] == 4
        of_choice = [t for t in tokens if t["choice"] == choice]
        row = found["overlap", choice, 0.01, "label held fixed"]
        held = [float(t["overlap, label held, top 1.0%"]) for t in of_choice]
        assert row["value"] == pytest.approx(numpy.mean(held))
        row = found["influence", choice, 1.0, "pooled"]
        assert row["n"] == sum(int(t["examples in top 100%"]) for t in of_choice)
    with open(whole / "consistency.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(content["table"])
    assert [row["value"] for row in rows] == [
        "" if row["value"] is None else str(row["value"]) for row in content["table"]
    ]


def test_masked_inputs_are_explained_as_the_inputs_were(results, whole):
    """Same solver and λ: what masking changes is the input alone."""
    explained, masked = open_results(results), open_results(whole / "masked")
    interpreter = InfluenceFunctions.from_path(
        explained.provenance["archive"]["path"],
        import_plugins=False,
        train_data_path=explained.provenance["train_data"]["path"],
        solver={"type": "gauss-newton", "damping": 0.1},
    )
    reader = interpreter._test_dataset_reader
    for line, scores in list(zip(masked.explanations, masked.scores))[:4]:
        instance = reader.text_to_instance(INPUTS[line["row"]])
        reader.apply_token_indexers(instance)
        tokens = explained.explanations[line["row"]]["saliency"]["tokens"]
        hidden = masking.masked(instance, tokens, line["positions"])
        (again,) = interpreter.explain([hidden], 0, labels=[line["explained"]])
        assert again.predicted == line["predicted"]
        numpy.testing.assert_allclose(scores, again.scores, rtol=1e-3, atol=1e-7)


def test_where_the_prediction_flips_the_ranking_turns_round(results, whole, monkeypatch):
    """Of two classes one is explained; the other's scores are a negative multiple."""
    explained, masked = open_results(results), open_results(whole / "masked")
    reopening = Reopening(explained)
    interpreter = reopening.interpreter
    tokens = [salient_tokens(line["saliency"]) for line in explained.explanations]
    instances = [instance for instance, _ in reopening.queries]
    kept = masking.by_position(masked.explanations, masked.scores)
    one_each = masking.masked_queries(interpreter, instances, explained.explanations, tokens)
    assert len(one_each) == len(kept)
    monkeypatch.setattr(interpreter, "weights", ["of several checkpoints"])
    every = masking.masked_queries(interpreter, instances, explained.explanations, tokens)
    flipped = [q for q in every if q.explained != explained.explanations[q.row]["explained"]]
    assert flipped and len(every) == len(one_each) + len(flipped)
    monkeypatch.setattr(interpreter, "weights", [])
    for query in flipped:
        assert query.explained == query.free == query.predicted
        (again,) = interpreter.explain([query.instance], 0, labels=[query.free])
        own = kept[query.row, query.positions].scores[query.free]
        low, high = sorted(again.probabilities)  # the flipped label is the likelier one
        numpy.testing.assert_allclose(again.scores, own * low / high, rtol=1e-3, atol=1e-8)


def test_a_stopped_run_goes_on_to_the_same_bits(results, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    explain, blocks = InfluenceFunctions.explain, []

    def stopped(self, *args):
        if len(blocks) == 2:
            raise KeyboardInterrupt
        blocks.append(args)
        return explain(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(InfluenceFunctions, "explain", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(results, "-s", str(out))
    assert [path.name for path in out.iterdir()] == ["masked.part"]
    explained = []
    with monkeypatch.context() as patch:
        patch.setattr(
            InfluenceFunctions,
            "explain",
            lambda self, *args: explained.extend(args[0]) or explain(self, *args),
        )
        run(results, "-s", str(out))
        num_masked = json.loads((out / "consistency.json").read_text())["masked_inputs"]
        assert len(explained) == num_masked - 8
        run(results, "-s", str(out))  # again: nothing is left to do
        assert len(explained) == num_masked - 8
    for name in ("masked/scores.npy", "consistency.csv", "tokens.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_whole_words(results, tmp_path, capsys):
    run(results, "-s", str(tmp_path / "out"), "--whole-words")
    content = json.loads((tmp_path / "out" / "consistency.json").read_text())
    assert content["whole_words"] is True
    assert {token["token"] for token in content["tokens"]} <= set(" ".join(INPUTS).split())
    out = " ".join(capsys.readouterr().out.split())
    assert "1 inputs have no two tokens with a saliency, and are left out" in out
    assert "masking the most positive token changes" in out


def test_what_is_refused(results, whole, tmp_path):
    def refused(*arguments):
        with pytest.raises(SystemExit) as error:
            run(*arguments)
        return str(error.value)

    assert "is not a result directory" in refused(str(tmp_path), "-s", str(tmp_path / "out"))
    other = write_tsv(tmp_path / "other.tsv", TEXTS, "0100010001")
    message = refused(results, "-s", str(tmp_path / "out"), "--train-data", str(other))
    assert "training file" in message and "has changed since" in message
    message = refused(results, "-s", str(whole), "--whole-words")
    assert "results are not mixed" in message
