"""`allennlp removal`: what it writes, how it goes on, and what it refuses."""

import argparse
import csv
import json

import numpy
import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis import retrainings
from allennlp_influence.analysis.removal import CONTROLS, GROUPS, MEASURES, plan, retrainings_of
from allennlp_influence.analysis.retrainings import Journal
from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.commands.removal import RemovalCommand
from allennlp_influence.influence.results import ResultWriter, open_results, sha256_of_examples
from tests.analysis.conftest import trained_bert  # noqa: F401
from tests.analysis.planted_retrainer import EFFECTS, EXAMPLES, LABELS, QUERIES, PlantedRetrainer

SEEDS = ("--seeds", "1", "2")
NUM_MODELS = len(retrainings_of(list(plan(EFFECTS, [x.label for x in EXAMPLES], [1, 2]))))


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> str:
    """Of the planted retrainer: its effects are the scores."""
    return planted_results(tmp_path_factory.mktemp("planted") / "results")


def planted_results(directory, examples=EXAMPLES, queries=QUERIES, labels=LABELS, normalisation=None):
    inputs = {
        "train_data": sha256_of_examples(examples),
        "input": sha256_of_examples(queries),
        "normalisation": normalisation,
        "overrides": "",
    }
    ids = [[example.id for example in part] for part in (queries, examples)]
    with ResultWriter(directory, inputs, *ids) as writer:
        for query, scores in zip(queries, EFFECTS):
            writer.add({"id": query.id, "explained": "b", "labels": labels}, scores)
        paths = {name: {"path": name} for name in ("archive", "train_data", "input")}
        writer.finish({**paths, "checkpoints": [], "damping": 30.0})
        writer.publish()
    return str(directory)


def run(results, out, *arguments, archive="", retrainer="planted"):
    parser = argparse.ArgumentParser()
    RemovalCommand().add_subparser(parser.add_subparsers())
    given = ["removal", archive, results, "-s", str(out), "--retrainer", retrainer, *arguments]
    args = parser.parse_args(given)
    args.func(args)


def files(directory):
    return {name: (directory / name).read_bytes() for name in ("removal.csv", "changes.csv")}


def test_the_tables(results, tmp_path, capsys):
    run(results, tmp_path / "out", *SEEDS)
    rows = list(csv.DictReader(open(tmp_path / "out" / "removal.csv")))
    assert len(rows) == (len(GROUPS) + len(CONTROLS)) * len(MEASURES)
    changes = list(csv.DictReader(open(tmp_path / "out" / "changes.csv")))
    assert len(changes) == len(GROUPS) * len(QUERIES) * 2
    for row in rows:
        if not row["versus"]:
            values = [float(x[row["measure"]]) for x in changes if x["removed"] == row["removed"]]
            assert float(row["value"]) == pytest.approx(numpy.mean(values))
            assert (int(row["n"]), int(row["clusters"])) == (2 * len(QUERIES), len(QUERIES))
    planted = PlantedRetrainer()
    (change,) = [
        x for x in changes if (x["id"], x["seed"], x["removed"]) == ("2", "1", "positive")
    ]
    removed = numpy.argsort(-EFFECTS[1])[:2]
    before, after = (planted.log_probabilities(out, 1)[1] for out in ([], removed))
    assert change["examples"] == "2" and change["explained"] == "b"
    assert float(change["confidence"]) == pytest.approx(numpy.exp(after[1]) - numpy.exp(before[1]))
    assert float(change["loss"]) == pytest.approx(before[1] - after[1])
    assert float(change["predicted_loss"]) == pytest.approx(EFFECTS[1][removed].sum(), rel=1e-6)
    content = json.loads((tmp_path / "out" / "removal.json").read_text())
    assert content["models"]["planned"] == content["models"]["trained"] == NUM_MODELS
    assert content["models"]["devices"] == {"cpu": NUM_MODELS}
    assert content["removed_examples"] == 2 and content["training_examples"] == 20
    assert content["seeds"] == [1, 2] and len(content["table"]) == len(rows)
    out = capsys.readouterr().out
    assert f"{NUM_MODELS} models to train, 0 of them done" in out
    assert "A model takes 0.0 seconds: expect a minute or less for the others" in out
    assert "Change by removing 2 of 20 training examples" in out
    assert "Means of 6 pairs of 3 queries and a seed" in out
    lines = [line for line in out.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80


def test_a_run_in_steps_gives_what_an_undisturbed_one_gives(results, tmp_path, capsys):
    run(results, tmp_path / "whole", *SEEDS)
    log = tmp_path / "log"
    retrainer = json.dumps({"type": "planted", "log": str(log)})
    out = tmp_path / "out"
    run(results, out, *SEEDS, "--max-retrainings", "3", retrainer=retrainer)
    assert not (out / "removal.csv").exists()  # nothing is complete yet
    assert f"3 of {NUM_MODELS} models are trained; the same command goes on" in capsys.readouterr().out
    run(results, out, *SEEDS, "--max-retrainings", "10", retrainer=retrainer)
    partial = list(csv.DictReader(open(out / "removal.csv")))
    assert 0 < int(partial[0]["n"]) < 2 * len(QUERIES)
    run(results, out, *SEEDS, "--max-minutes", "0", retrainer=retrainer)
    assert list(csv.DictReader(open(out / "removal.csv"))) == partial
    run(results, out, "--seeds", "1", retrainer=retrainer)  # a seed alone, the other later
    run(results, out, *SEEDS, retrainer=retrainer)
    run(results, out, *SEEDS, retrainer=retrainer)
    assert files(out) == files(tmp_path / "whole")
    assert len(log.read_text().splitlines()) == NUM_MODELS


def test_results_that_share_their_models(results, tmp_path):
    log = tmp_path / "log"
    retrainer = json.dumps({"type": "planted", "log": str(log)})
    models = ("--models-dir", str(tmp_path / "models"))
    run(results, tmp_path / "one", *SEEDS, *models, retrainer=retrainer)
    assert not (tmp_path / "one" / "retrainings.jsonl").exists()
    # other removals with the same two seeds, whose models of all training examples are there
    run(results, tmp_path / "two", *SEEDS, *models, "--fraction", "0.2", retrainer=retrainer)
    run(results, tmp_path / "alone", *SEEDS, "--fraction", "0.2")
    assert files(tmp_path / "two") == files(tmp_path / "alone")
    labels = [example.label for example in EXAMPLES]
    planned = [retrainings_of(list(plan(EFFECTS, labels, [1, 2], part))) for part in (0.1, 0.2)]
    trained = log.read_text().splitlines()
    assert len(trained) == len(set(trained)) == sum(map(len, planned)) - 2
    for name, own in zip(("one", "two"), planned):
        models = json.loads((tmp_path / name / "removal.json").read_text())["models"]
        assert models["trained"] == models["planned"] == len(own)


def test_a_run_that_fails_keeps_what_is_done(results, tmp_path):
    assert "13 can't be trained" in refused(results, tmp_path / "out", "--seeds", "1", "13")
    with pytest.raises(ConfigurationError):  # of other inputs: the lock is gone, the lines are there
        Journal(tmp_path / "out", {})
    lines = (tmp_path / "out" / "retrainings.jsonl").read_text().splitlines()
    models = retrainings_of(list(plan(EFFECTS, [x.label for x in EXAMPLES], [1])))
    assert len(lines) == 1 + len(models)
    run(results, tmp_path / "out", "--seeds", "1")


def test_only_some_groups(results, tmp_path, capsys):
    run(results, tmp_path / "out", *SEEDS, "--groups", "positive", "positive-matched")
    rows = list(csv.DictReader(open(tmp_path / "out" / "removal.csv")))
    found = {(row["removed"], row["versus"]) for row in rows}
    assert found == {
        ("positive", ""),
        ("positive-matched", ""),
        ("positive", "positive-matched"),
    }
    out = capsys.readouterr().out
    assert "negative" not in out and "− matched" in out


def test_scores_that_are_not_in_nats_predict_no_loss(tmp_path, capsys):
    results = planted_results(tmp_path / "results", normalisation="relatif")
    run(results, tmp_path / "out", *SEEDS)
    rows = list(csv.DictReader(open(tmp_path / "out" / "removal.csv")))
    assert {row["measure"] for row in rows} == {*MEASURES} - {"predicted_loss"}
    assert "predicted" not in capsys.readouterr().out


def refused(results, out, *arguments, **options):
    with pytest.raises(SystemExit) as exit:
        run(results, out, *arguments, **options)
    message = str(exit.value)
    assert message.startswith("allennlp removal: ") and "\n" not in message
    return message


def test_what_is_refused(results, tmp_path, monkeypatch):
    out = tmp_path / "out"
    others = {
        "is of other training examples than those read now; give the file that it was made with by --train-data": {
            "examples": EXAMPLES[::-1]
        },
        "is of other inputs than those read now; give the file that it was made with by --input-file": {
            "queries": QUERIES[::-1]
        },
        "is of a model with the classes b, c, but what is trained again has a, b": {
            "labels": ["b", "c"]
        },
    }
    for number, (expected, options) in enumerate(others.items()):
        other = planted_results(tmp_path / f"results{number}", **options)
        assert expected in refused(other, out, *SEEDS)
    ends = {
        "--seeds takes different numbers from 0": ("--seeds", "1", "1"),
        "not -1": ("--seeds", "-1"),
        "a fraction of 0.01 of 20 training examples is 0": ("--fraction", "0.01"),
        "--processes must be at least 1, not 0": ("--processes", "0"),
        "--max-retrainings must be at least 0, not -1": ("--max-retrainings", "-1"),
    }
    for expected, arguments in ends.items():
        assert expected in refused(results, out, *arguments)
    assert "retrainer 'nothing' is none of allennlp, " in refused(results, out, retrainer="nothing")
    assert "--retrainer '{' is not JSON" in refused(results, out, retrainer="{")
    assert "depth" in refused(results, out, retrainer='{"type": "planted", "depth": 3}')
    assert "is not a result directory of `allennlp influence`" in refused(str(tmp_path), out)
    assert not out.exists()
    run(results, out, "--seeds", "1", "--max-retrainings", "1")
    assert "(fraction differ)" in refused(results, out, "--fraction", "0.2")
    assert "(retrainer differ)" in refused(results, out, "-o", "{}")


def test_with_allennlps_trainer(trained_bert, tmp_path, capsys):  # noqa: F811
    archive, queries = trained_bert
    results = explain_archive(archive, queries, str(tmp_path / "results"), solver="identity")
    arguments = ("--seeds", "5", "--fraction", "0.2", "--groups", "positive", "negative")
    run(str(results), tmp_path / "out", *arguments, archive=archive, retrainer="allennlp")
    changes = list(csv.DictReader(open(tmp_path / "out" / "changes.csv")))
    assert len(changes) == 2 * 4 and {row["examples"] for row in changes} == {"2"}
    lines = [json.loads(line) for line in open(tmp_path / "out" / "retrainings.jsonl")]
    reference = numpy.array(lines[1]["log_probabilities"])  # 5 is the archive's own seed
    order = open_results(results).explanations
    numpy.testing.assert_allclose(
        numpy.exp(reference), [line["probabilities"] for line in order], atol=1e-5
    )
    short = tmp_path / "short.jsonl"
    train = archive.replace("model/model.tar.gz", "train.jsonl")
    short.write_text("".join(open(train).readlines()[1:]))
    message = refused(
        str(results), tmp_path / "out", "--train-data", str(short), archive=archive, retrainer="allennlp"
    )
    assert "is of other training examples than those read now" in message


def test_the_processes_share_the_work(results, tmp_path, monkeypatch):
    asked = []
    original = retrainings.retrain
    monkeypatch.setattr(
        "allennlp_influence.commands.removal.retrain",
        lambda *args, **options: asked.append(options["processes"])
        or original(*args, **{**options, "processes": 1}),
    )
    run(results, tmp_path / "out", *SEEDS, "--processes", "2")
    assert asked == [2]  # what they then do is tested beside `retrain`
