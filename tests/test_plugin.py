"""Each way in which AllenNLP finds this package, as a user takes it: in a process of its own."""

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest
from allennlp_influence import versions
from allennlp_influence.plugin import disable, enable
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
OURS = {
    "artifacts",
    "consistency",
    "demo",
    "influence",
    "influence-server",
    "label-errors",
    "negate-hans",
    "removal",
    "saliency",
    "validate-influence",
    "what-if",
}
THEIRS = {"train", "predict", "evaluate"}
SCRIPT_ONLY = {"enable", "disable"}


def run(arguments: List[str], cwd: Path, home: Path, *path: Path) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT])),
        "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def commands(result: subprocess.CompletedProcess) -> set:
    assert result.returncode == 0, result.stderr
    return set(re.findall(r"^    ([a-z-]+)", result.stdout, flags=re.MULTILINE))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def a_wrong(name: str, version: str, folder: Path) -> Path:
    """A folder that, first on the path, makes another version of a package look installed."""
    information = folder / f"{name}-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


def test_allennlp_offers_our_commands_in_the_repository(home: Path) -> None:
    offered = commands(run(["-m", "allennlp", "--help"], ROOT, home))
    assert OURS | THEIRS <= offered
    assert not SCRIPT_ONLY & offered


def test_the_console_script_offers_all_commands_anywhere(elsewhere: Path, home: Path) -> None:
    offered = commands(run(["-m", "allennlp_influence", "--help"], elsewhere, home))
    assert OURS | THEIRS | SCRIPT_ONLY <= offered


def test_enable_makes_allennlp_offer_our_commands_anywhere(elsewhere: Path, home: Path) -> None:
    plugins = home / ".allennlp" / "plugins"
    enabled = run(["-m", "allennlp_influence", "enable"], elsewhere, home)
    assert enabled.returncode == 0, enabled.stderr
    assert str(plugins) in enabled.stdout
    assert OURS <= commands(run(["-m", "allennlp", "--help"], elsewhere, home))
    disabled = run(["-m", "allennlp_influence", "disable"], elsewhere, home)
    assert disabled.returncode == 0, disabled.stderr
    assert plugins.read_text() == ""


def test_enable_and_disable_are_idempotent_and_keep_other_plugins(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.write_text("another_plugin")  # the last line may lack its end
    enable(plugins)
    once = plugins.read_text()
    assert once.splitlines() == ["another_plugin", "allennlp_influence"]
    assert "already" in enable(plugins)
    assert plugins.read_text() == once
    disable(plugins)
    assert plugins.read_text().splitlines() == ["another_plugin"]
    assert "nothing to do" in disable(plugins)
    assert plugins.read_text().splitlines() == ["another_plugin"]


def test_names_are_registered_by_import_and_full_names_without_it(
    elsewhere: Path, home: Path
) -> None:
    program = """
from allennlp.interpret import InfluenceInterpreter, SaliencyInterpreter
full = SaliencyInterpreter.by_name("allennlp_influence.saliency.gradient_x_input.GradientXInput")
import allennlp_influence
from allennlp.data import DatasetReader
from allennlp.predictors import Predictor
assert SaliencyInterpreter.by_name("gradient-x-input") is full
assert InfluenceInterpreter.by_name("influence-functions")
assert DatasetReader.by_name("sst2") and DatasetReader.by_name("nli")
assert Predictor.by_name("text_explainer")
"""
    result = run(["-c", program], elsewhere, home)
    assert result.returncode == 0, result.stderr


def test_a_wrong_version_is_one_line_and_leaves_allennlp_alone(tmp_path: Path, home: Path) -> None:
    wrong = a_wrong("transformers", "4.57.6", tmp_path / "wrong")
    remedy = "pip install 'transformers>=4.41,<4.44'"

    script = run(["-m", "allennlp_influence", "--help"], tmp_path, home, wrong)
    assert script.returncode != 0
    assert script.stdout == ""
    (line,) = script.stderr.splitlines()
    assert "transformers 4.57.6" in line and remedy in line

    # not `-m allennlp`, which puts the true packages before the wrong one again
    program = "import sys; from allennlp.commands import main; sys.argv[1:] = ['--help']; main()"
    allennlp = run(["-c", program], ROOT, home, wrong)
    offered = commands(allennlp)
    assert THEIRS <= offered
    assert not OURS & offered
    assert allennlp.stderr.count(remedy) == 1
    assert "Traceback" not in allennlp.stderr


@pytest.mark.parametrize(
    "installed, told",
    [
        ({}, None),
        ({"torch": "2.11.0+cpu", "torchvision": "0.26.0+cpu"}, None),
        ({"numpy": "1.26.4"}, "pip install 'numpy>=2.0'"),
        ({"torchvision": "0.20.1"}, "pip install 'torchvision>=0.21,<0.27'"),
        ({"torch": "2.9.1"}, "pip install 'torch==2.11.0'"),
        ({"allennlp": "2.9.0"}, "pip install --no-deps allennlp==2.10.1"),
    ],
)
def test_each_requirement_is_checked(
    installed: Dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, version in installed.items():
        a_wrong(name, version, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    problem = versions.mismatch()
    if told is None:
        assert problem is None
    else:
        assert told in problem
        assert "\n" not in problem


def test_the_versions_checked_are_those_pip_installs() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = {}
    for line in setup["options"]["install_requires"].splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            required[requirement.name] = requirement.specifier
    for name, needed in versions.REQUIREMENTS.items():
        if name != "allennlp":
            assert required[name] == versions.SpecifierSet(needed), name
    pinned = (ROOT / "requirements.txt").read_text().splitlines()
    for line in filter(lambda line: line and not line.startswith("#"), pinned):
        pin = Requirement(line)
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        if pin.name in required:
            assert required[pin.name].contains(specifier.version), line
