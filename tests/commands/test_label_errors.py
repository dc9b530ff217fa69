"""`allennlp label-errors`: planted errors are found, whatever it is given, and what it refuses."""

import argparse
import csv
import json
from pathlib import Path

import numpy
import pytest
import scipy.stats
import torch
from allennlp.data import Batch
from allennlp.models.archival import archive_model, load_archive
from sklearn.metrics import roc_auc_score

from allennlp_influence.commands.demo import run_demo
from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.commands.label_errors import LabelErrors, label_errors_of_archive
from allennlp_influence.data.demo import demo_data
from allennlp_influence.influence.results import open_results
from tests.influence.archives import make_archive, transformer_classifier

PLANTED = [3, 14, 25, 36, 47, 58]  # rows with a wrong label
WORDS = {"0": ["bad", "tedious", "not"], "1": ["good", "film", "sleeps"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("label_errors")


@pytest.fixture(scope="module")
def archive(folder, tiny_transformer) -> str:
    """A tiny BERT that has learnt which words are good, and the planted errors as far as that took it."""
    generator = numpy.random.default_rng(0)
    rows = ["sentence\tlabel"]
    for row in range(1, 61):
        label = str(row % 2)
        words = [*generator.choice(WORDS[label], 3), *generator.choice(["the", "man", "is"], 2)]
        written = str(1 - int(label)) if row in PLANTED else label
        rows.append(" ".join(generator.permutation(words)) + "\t" + written)
    train = folder / "train.tsv"
    train.write_text("\n".join(rows) + "\n")
    path = make_archive(
        folder / "model",
        reader={"type": "sst2", "encoder": tiny_transformer("bert")},
        model=transformer_classifier(tiny_transformer("bert"), dropout=0.0),
        train_data=train,
        trainer={"no_grad": ["embeddings"]},
    )
    loaded = load_archive(path)
    batch = Batch(list(loaded.dataset_reader.read(train)))
    batch.index_instances(loaded.model.vocab)
    optimizer = torch.optim.Adam(loaded.model.parameters(), lr=3e-3)
    loaded.model.train()
    for _ in range(100):
        optimizer.zero_grad()
        loaded.model(**batch.as_tensor_dict())["loss"].backward()
        optimizer.step()
    torch.save(loaded.model.state_dict(), folder / "model" / "weights.th")
    return archive_model(str(folder / "model"), weights="weights.th")


def run(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    LabelErrors().add_subparser(parser.add_subparsers())
    args = parser.parse_args(["label-errors", *arguments])
    args.func(args)


def precision(suspects, planted) -> float:
    """Of as many as are planted."""
    return numpy.mean([suspect.id in planted for suspect in suspects[: len(planted)]])


def area(suspects, planted) -> float:
    """AUC: how often a planted error stands before another example."""
    return roc_auc_score([s.id in planted for s in suspects], [-s.rank for s in suspects])


@pytest.mark.parametrize("by", ["self-influence", "loss"])
def test_planted_errors_are_found(by, archive):
    suspects = label_errors_of_archive(archive, by=by)
    assert len(suspects) == 60
    assert precision(suspects, PLANTED) >= 4 / 6
    assert area(suspects, PLANTED) > 0.9


def test_the_evidence_of_several_models(archive, tmp_path):
    """The archive's, and one that is half as sure of everything."""
    state = load_archive(archive).model.state_dict()
    for key in state:
        if "_classification_layer" in key:
            state[key] = state[key] / 2
    torch.save(state, tmp_path / "unsure.th")
    alone = {suspect.id: suspect for suspect in label_errors_of_archive(archive)}
    errors = tmp_path / "errors.jsonl"
    run(archive, "--checkpoints", archive, str(tmp_path / "unsure.th"), "--output-file", str(errors))
    found = [json.loads(line) for line in errors.read_text().splitlines()]
    assert len(found) == 60 and sum(line["id"] in PLANTED for line in found[: len(PLANTED)]) >= 4
    for line in found:
        assert 0.5 < line["probability"] < alone[line["id"]].probability
        assert line["predicted"] == alone[line["id"]].predicted
        assert line["self_influence"] != pytest.approx(alone[line["id"]].self_influence)


def test_a_result_directory_will_do_for_an_archive(archive, folder, tmp_path, capsys):
    solver = {"type": "ek-fac", "damping": 0.1}
    results = explain_archive(
        archive, str(folder / "train.tsv"), str(tmp_path / "out"), solver=solver, label="gold"
    )
    from_archive = label_errors_of_archive(archive, solver=solver)
    run(str(results), "--output-file", str(tmp_path / "errors.jsonl"))
    lines = (tmp_path / "errors.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [line["id"] for line in found] == [suspect.id for suspect in from_archive]
    for line, suspect in zip(found, from_archive):
        assert line["self_influence"] == pytest.approx(suspect.self_influence, rel=1e-5)
        assert suspect.opposing_influence is None
    scores = numpy.asarray(open_results(results).scores, dtype=float)
    against = -scipy.stats.zscore(scores, axis=1).mean(0)
    assert [line["opposing_influence"] for line in found] == pytest.approx(
        [against[line["id"] - 1] for line in found], rel=1e-5
    )
    run(str(results), "--by", "opposing-influence", "--output-file", str(tmp_path / "others.jsonl"))
    first = json.loads((tmp_path / "others.jsonl").read_text().splitlines()[0])
    assert first["opposing_influence"] == pytest.approx(against.max())


def test_the_table(archive, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    path = tmp_path / "errors.csv"
    run(archive, "--output-file", str(path), "--top-k", "3")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60 and rows[0]["rank"] == "1" and float(rows[0]["percentile"]) > 98
    assert {"id", "sentence", "label", "predicted", "probability", "self_influence"} <= set(rows[0])
    out = capsys.readouterr().out
    shown = [line for line in out.splitlines() if line.strip()[:2].strip().isdigit()]
    assert [line.split()[0] for line in shown] == [row["id"] for row in rows[:3]]
    assert rows[0]["sentence"] in shown[0]
    assert "All 60 training examples are in" in out
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_is_one_line(archive, folder, tmp_path):
    results = explain_archive(
        archive,
        str(folder / "train.tsv"),
        str(tmp_path / "out"),
        solver={"type": "conjugate-gradient", "damping": 1000},
    )
    nothing = str(tmp_path / "nothing.tar.gz")
    for expected, arguments in {
        "the archive": (nothing,),
        "must end in .csv or .jsonl": (archive, "--output-file", str(tmp_path / "errors.txt")),
        "can't be written": (archive, "--output-file", str(tmp_path / "no" / "errors.csv")),
        "--top-k must be at least 1": (archive, "--top-k", "0"),
        "would take a system for every": (archive, "--solver", "conjugate-gradient"),
        "run allennlp influence --label gold": (archive, "--by", "opposing-influence"),
        "have no self-influence; give the archive": (str(results),),
        "solver 'newton' is none of": (archive, "--solver", "newton"),
    }.items():
        with pytest.raises(SystemExit) as exit:
            run(*arguments)
        message = str(exit.value)
        assert message.startswith("allennlp label-errors: ") and "\n" not in message
        assert expected in message
        assert not list(tmp_path.glob("errors*"))


@pytest.mark.slow
def test_planted_errors_of_the_demo_are_found(tmp_path):
    """Eight of 715; two minutes of training."""
    run_demo(str(tmp_path / "demo"))
    planted = json.loads((demo_data("sentiment") / "planted.json").read_text())["wrong_labels"]
    suspects = label_errors_of_archive(str(tmp_path / "demo" / "model" / "model.tar.gz"))
    assert Path(tmp_path / "demo" / "report.html").exists() and len(suspects) == 715
    # not at the very top: texts that are hard, though rightly labelled, come first
    assert area(suspects, planted) > 0.9
