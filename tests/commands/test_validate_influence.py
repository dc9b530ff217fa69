"""`allennlp validate-influence`: what it writes and chooses, and what it refuses."""

import argparse
import json
from pathlib import Path

import pytest

from allennlp_influence.analysis import TrainedLayersRetrainer
from allennlp_influence.commands.influence import InfluenceCommand
from allennlp_influence.commands.validate_influence import METHODS, ValidateInfluenceCommand
from allennlp_influence.influence.results import open_results
from tests.analysis.conftest import L2, trained_head  # noqa: F401

SMALL = ("--subsets", "4", "--seeds", "1", "--explained", "1", "--damping", "30", str(L2))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


def run(command, *arguments):
    parser = argparse.ArgumentParser()
    command.add_subparser(parser.add_subparsers())
    args = parser.parse_args([command.name, *arguments])
    args.func(args)


def validate(trained, out, cache, *arguments):
    given = [trained.archive, trained.queries, "-s", str(out), "--cache-dir", cache, *arguments]
    run(ValidateInfluenceCommand(), *given)
    return json.loads((out / "validation.json").read_text())


def test_it_chooses_a_damping_that_influence_finds(trained_head, tmp_path, cache, capsys):
    command = ("influence", trained_head.archive, trained_head.queries, "--cache-dir", cache)
    explain = [*command[1:], "--damping", "auto"]
    with pytest.raises(SystemExit) as exit:
        run(InfluenceCommand(), *explain, "-s", str(tmp_path / "none"))
    assert "no damping was chosen for this archive" in str(exit.value)
    found = validate(trained_head, tmp_path / "lds", cache, *SMALL, "--choose", "--examples", "30")
    assert found["examples"] == 30 and found["queries"] == 12 and found["seconds_per_model"] > 0
    assert len(found["rows"]) == 1 + 2 + 2
    by_name = {row["name"]: row for row in reversed(found["rows"])}  # the best of each
    chosen = {choice["system"]: choice["damping"] for choice in found["chosen"]}
    assert chosen == {name: by_name[name]["damping"] for name in ("gauss-newton", "ek-fac")}
    printed = capsys.readouterr().out
    assert "4 of 4 models" in printed and "single" in printed and "--seeds 2" in printed
    run(InfluenceCommand(), *explain, "-s", str(tmp_path / "auto"))
    provenance = open_results(tmp_path / "auto").provenance
    assert provenance["damping"] == chosen["gauss-newton"]
    assert provenance["damping_chosen_by"]["lds"]["mean"] == by_name["gauss-newton"]["lds"]["mean"]
    assert "was chosen by validate-influence" in " ".join(capsys.readouterr().out.split())


def test_checkpoints_that_training_has_kept(trained_head, tmp_path, cache, capsys):
    given = ["influence", trained_head.archive, trained_head.queries, "--cache-dir", cache]
    folder = str(Path(trained_head.archive).parent)
    hint = f"--checkpoints {folder} averages over them"
    run(InfluenceCommand(), *given[1:], "-s", str(tmp_path / "last"))
    assert "Training has kept 2 checkpoints" in (printed := capsys.readouterr().out) and hint in printed
    arguments = (*SMALL, "--choose", "--checkpoints", "--solver", "gauss-newton")
    found = validate(trained_head, tmp_path / "lds", cache, *arguments)
    names = ["gauss-newton", "gauss-newton, at checkpoints"]
    assert sorted(row["name"] for row in found["rows"]) == [name for name in names for _ in range(2)]
    assert sorted(choice["system"] for choice in found["chosen"]) == names
    capsys.readouterr()
    auto = ("--damping", "auto", "--checkpoints", folder, "-s", str(tmp_path / "all"))
    run(InfluenceCommand(), *given[1:], *auto)
    printed = " ".join(capsys.readouterr().out.split())
    assert "was chosen by validate-influence" in printed and hint not in printed
    provenance = open_results(tmp_path / "all").provenance
    chosen = {choice["system"]: choice["damping"] for choice in found["chosen"]}
    assert provenance["damping"] == chosen["gauss-newton, at checkpoints"]
    assert len(provenance["checkpoints"]) == 2


def test_a_number_takes_the_place_of_the_solvers_damping(trained_head, tmp_path):
    config = '{"type": "ek-fac", "damping": 3}'
    given = [trained_head.archive, trained_head.queries, "--solver", config, "--damping", "0.5"]
    run(InfluenceCommand(), *given, "-s", str(tmp_path / "out"))
    assert open_results(tmp_path / "out").provenance["damping"] == 0.5
    with pytest.raises(SystemExit, match="neither a number nor 'auto'"):
        run(InfluenceCommand(), *given[:-1], "small", "-s", str(tmp_path / "wrong"))


@pytest.mark.parametrize("method", [method for method in METHODS if method != "lds"])
def test_the_other_methods(method, trained_head, tmp_path, cache, capsys):
    damping = ("--damping", str(L2), "--solver", "gauss-newton", "--left-out", "4")
    found = validate(
        trained_head, tmp_path / "out", cache, *SMALL[:-3], *damping, "--method", method, "--label", "gold"
    )
    assert found["rows"] and found["method"] == method
    assert "gauss-newton" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--subsets", "2"], "at least 3 groups"),
        (["--explained", "0"], "at least 1 model"),
        (["--examples", "1"], "--examples must be at least 2"),
        (["--processes", "0"], "--processes must be at least 1"),
        (["--choose", "--method", "mislabel"], "--choose goes by --method lds"),
        (["--checkpoints", "--method", "pbrf"], "--checkpoints is for --method lds"),
        (["--method", "leave-group-out", "--share", "1"], "between 0 and 1"),
        (["--method", "mislabel", "--share", "0"], "between 0 and 1"),
        (["--method", "pbrf", "--left-out", "1000"], "between 3 and all"),
        (["--solver", "newton"], "none of"),
        (["-o", "{"], "--overrides"),
        (["--train-data", "nowhere.tsv"], "nowhere.tsv does not exist"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments, message, trained_head, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(TrainedLayersRetrainer, "_trained", None)  # before anything is trained
    with pytest.raises(SystemExit) as exit:
        validate(trained_head, tmp_path / "out", cache, *arguments)
    assert message in str(exit.value) and str(exit.value).startswith("allennlp validate-influence: ")
    assert "\n" not in str(exit.value) and not (tmp_path / "out").exists()
