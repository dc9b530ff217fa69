"""The wheel, in an environment that has the dependencies but not the checkout."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="is in requirements.txt")

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("allennlp_influence", "fixtures", "training_configs", "scripts")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, source)
    # a source distribution, and the wheel from it: what one lacks, the other lacks
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", source], check=True)
    (wheel,) = (source / "dist").glob("*.whl")
    return wheel


def test_everything_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        (entry_points,) = (name for name in inside if name.endswith("entry_points.txt"))
        assert "allennlp-influence = allennlp_influence.__main__:run" in str(
            archive.read(entry_points), "utf-8"
        )
    package = Path("allennlp_influence")
    places = {
        ROOT / "allennlp_influence": package,
        ROOT / "fixtures" / "demo": package / "demo_data",
        ROOT / "training_configs": package / "training_configs",
    }
    expected = {
        str(place / file.relative_to(source))
        for source, place in places.items()
        for file in source.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert "allennlp_influence/demo_data/sentiment/train.tsv" in expected
    assert expected <= inside
    assert not any(name.startswith(("tests", "fixtures")) for name in inside)


def test_the_wheel_works_in_another_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    site = sysconfig.get_path("purelib", vars={"base": str(environment)})
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)

    program = f"""
import allennlp_influence
assert allennlp_influence.__file__.startswith({str(environment)!r}), allennlp_influence.__file__
from allennlp.data import DatasetReader
from allennlp_influence.data.demo import demo_data
reader = DatasetReader.by_name("sst2")(encoder="minilm")
assert len(list(reader.read(demo_data("sentiment") / "test.tsv"))) >= 60
"""
    subprocess.run([python, "-c", program], cwd=tmp_path, check=True)
    offered = subprocess.run(
        [environment / "bin" / "allennlp-influence", "--help"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for command in ("train", "saliency", "influence", "demo", "enable"):
        assert f"    {command} " in offered
