"""Where the files are, and what every reader is asked."""

import os
from pathlib import Path
from typing import Callable, List, NamedTuple

import pytest
from allennlp.common import Params
from allennlp.data import DatasetReader
from hypothesis import HealthCheck

from allennlp_influence.data import Example, example_of

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "fixtures" / "tiny"
UNHURRIED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # of Hypothesis


@pytest.fixture
def real_file() -> Callable[[str], str]:
    """The path of a public file; it is not in the repository, and without it the test is skipped."""

    def path(name: str) -> str:
        folder = Path(os.environ.get("INFLUENCE_DATA") or ROOT.parent / "shared" / "data")
        if not (folder / name).exists():
            pytest.skip(f"{folder / name} is not here; INFLUENCE_DATA names the folder")
        return str(folder / name)

    return path


class Readers(NamedTuple):
    """Reads files with words as tokens: the fastest way, where tokens do not matter."""

    folder: Path

    def read(self, kind: str, path, **options) -> List[Example]:
        words = {"tokenizer": "whitespace", "token_indexers": {"tokens": "single_id"}}
        reader = DatasetReader.from_params(Params({"type": kind, **words, **options}))
        instances = list(reader.read(path if isinstance(path, str) else str(path)))
        examples = [example_of(instance, -1) for instance in instances]
        for instance, example in zip(instances, examples):
            assert ("label" in instance) == (example.label is not None)
            assert example.label is None or instance["label"].label == example.label
        return examples

    def write(self, content, name: str = "data.tsv") -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)


@pytest.fixture(scope="module")
def readers(tmp_path_factory) -> Readers:
    return Readers(tmp_path_factory.mktemp("data"))
