"""The result directory: written block by block, resumed where it stopped, complete or not there."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Union

import numpy
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict
from filelock import FileLock, Timeout

from allennlp_influence.data.example import Example

PathLike = Union[str, os.PathLike]

EXPLANATIONS = "explanations.jsonl"
SCORES = "scores.npy"
TRAINING_EXAMPLES = "training_examples.jsonl"
IDS = "ids.json"
PROVENANCE = "provenance.json"
# only in an unfinished directory
_MARKER = "inputs.json"
_LOCK = "lock"


@dataclass(frozen=True)
class Results:
    """
    An opened result directory.

    `scores` `(Q, N)`, float32, is mapped, not loaded; its rows are `query_ids` and the lines of
    `explanations`, its columns `train_ids` and `training_examples`.
    """

    directory: Path
    explanations: List[JsonDict]
    scores: numpy.ndarray
    query_ids: List[int]
    train_ids: List[int]
    provenance: JsonDict

    @cached_property
    def training_examples(self) -> List[JsonDict]:
        """
        What is known of every training example, see `training_lines`; read at the first use.

        # Raises

        `ConfigurationError` if the file is missing, damaged or of other training examples.
        """
        try:
            with open(self.directory / TRAINING_EXAMPLES, encoding="utf-8") as lines:
                examples = [json.loads(line) for line in lines]
            ids = [example["id"] for example in examples]
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"{self.directory} has no {TRAINING_EXAMPLES}: it was made by an earlier version; make it again"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{TRAINING_EXAMPLES} of the result directory {self.directory} is damaged ({error}); make it again"
            ) from error
        if ids != self.train_ids:
            raise ConfigurationError(
                f"the result directory {self.directory} is damaged: the ids in {TRAINING_EXAMPLES} are not the "
                f"train_ids of {IDS}; make it again"
            )
        return examples


def open_results(directory: PathLike) -> Results:
    """
    # Raises

    `ConfigurationError` if a file of the directory is missing, damaged or of another size than the rest.
    """
    directory = Path(directory)
    try:
        provenance = json.loads((directory / PROVENANCE).read_text(encoding="utf-8"))
        ids = json.loads((directory / IDS).read_text(encoding="utf-8"))
        with open(directory / EXPLANATIONS, encoding="utf-8") as lines:
            explanations = [json.loads(line) for line in lines]
        scores = numpy.load(directory / SCORES, mmap_mode="r")
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{directory} is not a result directory of `allennlp influence`: {Path(error.filename).name} is missing"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, ValueError, EOFError) as error:
        raise ConfigurationError(
            f"the result directory {directory} is damaged ({error}); make it again"
        ) from error
    if scores.shape != (len(explanations), len(ids["train_ids"])):
        raise ConfigurationError(
            f"the result directory {directory} is damaged: {SCORES} holds {scores.shape} scores of "
            f"{len(explanations)} explanations and {len(ids['train_ids'])} training examples; make it again"
        )
    return Results(directory, explanations, scores, ids["query_ids"], ids["train_ids"], provenance)


class ResultWriter:
    """
    Writes a result directory. Until `publish` everything is in `DIR.part`; a run that was stopped goes on
    from the last complete line there. As a context manager: the directory is no other process's until its end.

    # Parameters

    directory : `PathLike`, required
    inputs : `Mapping[str, Any]`, required
        All that the results depend on, JSON-serialisable. A directory that was begun with other inputs is
        refused.
    query_ids, train_ids : `List[int]`, required

    # Raises

    `ConfigurationError` if the directory holds something else, can't be written, or is being written.
    """

    def __init__(
        self,
        directory: PathLike,
        inputs: Mapping[str, Any],
        query_ids: List[int],
        train_ids: List[int],
    ) -> None:
        self.directory = Path(os.path.abspath(directory))
        self.part = self.directory.with_name(self.directory.name + ".part")
        self._inputs = json.loads(json.dumps(inputs))
        self.resumed_after = 0  # queries that an earlier run had written
        self._lock = FileLock(self.part / _LOCK, timeout=0)
        self.complete = self._is_complete()
        if self.complete:
            return
        try:
            self.part.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self.complete = self._is_complete()  # by a process that ended since
            if self.complete:
                self.discard()
            else:
                self._begin(query_ids, train_ids)
        except Timeout as error:
            raise ConfigurationError(
                f"{self.directory} is being written by another process; wait for its end, or choose another directory"
            ) from error
        except OSError as error:
            raise ConfigurationError(
                f"the result directory {self.directory} can't be written: {error}"
            ) from error

    def __enter__(self) -> "ResultWriter":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._lock.release()

    @property
    def num_done(self) -> int:
        """How many queries are written."""
        return len(self._lines)

    @property
    def lines(self) -> List[JsonDict]:
        """The written lines of explanations.jsonl."""
        return [json.loads(line) for line in self._lines]

    def truncate(self, num_done: int) -> None:
        """Forget what comes after the first `num_done` queries."""
        self._lines = self._lines[:num_done]
        self.resumed_after = num_done
        write_whole(self.part / EXPLANATIONS, "".join(self._lines))

    def add(self, line: JsonDict, scores: numpy.ndarray) -> None:
        """The next query: its line of explanations.jsonl and its row of scores `(N,)`."""
        self._scores[len(self._lines)] = scores
        self._scores.flush()
        text = json.dumps(line, ensure_ascii=False) + "\n"
        with open(self.part / EXPLANATIONS, "a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._lines.append(text)

    @property
    def has_training_examples(self) -> bool:
        """Whether `add_training_examples` is done."""
        return (self.part / TRAINING_EXAMPLES).exists()

    def add_training_examples(self, lines: Iterable[JsonDict]) -> None:
        """Write training_examples.jsonl."""
        text = (json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_whole(self.part / TRAINING_EXAMPLES, "".join(text))

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write the provenance; `publish` then puts the directory in its place."""
        content = {**provenance, "inputs": self._inputs}
        write_whole(self.part / PROVENANCE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def publish(self) -> None:
        """Give the finished directory its name, at once."""
        if self.directory.exists():
            self.directory.rmdir()  # empty, as checked at the start
        os.replace(self.part, self.directory)
        self._remove_what_a_run_needs()

    def discard(self) -> None:
        """Forget what is written."""
        self._lines = []
        shutil.rmtree(self.part, ignore_errors=True)

    def _is_complete(self) -> bool:
        if not self.directory.exists():
            return False
        if not self.directory.is_dir():
            raise ConfigurationError(f"{self.directory} is a file, not a directory; choose another")
        if not any(self.directory.iterdir()):
            if self.directory.samefile(
                os.curdir
            ):  # which the rename would take from under the shell
                raise ConfigurationError("the current directory can't be replaced; name one in it")
            return False
        try:
            before = json.loads((self.directory / PROVENANCE).read_text(encoding="utf-8"))["inputs"]
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{self.directory} is not empty and no result directory; choose another, or delete it"
            ) from error
        self._refuse_others(before, self.directory)
        self._remove_what_a_run_needs()  # if a run ended just before it did
        return True

    def _remove_what_a_run_needs(self) -> None:
        for name in (_MARKER, _LOCK):  # what is in the marker is in the provenance
            (self.directory / name).unlink(missing_ok=True)

    def _begin(self, query_ids: List[int], train_ids: List[int]) -> None:
        for unfinished in self.part.glob("*.tmp"):
            unfinished.unlink()
        marker = self.part / _MARKER
        if marker.exists():
            self._refuse_others(json.loads(marker.read_text(encoding="utf-8")), self.part)
        shape = (len(query_ids), len(train_ids))
        scores = self.part / SCORES
        if marker.exists() and scores.exists():
            self._scores = numpy.lib.format.open_memmap(scores, mode="r+")
            path = self.part / EXPLANATIONS
            text = path.read_bytes() if path.exists() else b""
            # what follows the last line end was being written when the run stopped
            self._lines = [line.decode("utf-8") + "\n" for line in text.split(b"\n")[:-1]]
            self.resumed_after = len(self._lines)
        else:
            self._lines = []
            write_whole(self.part / EXPLANATIONS, "")
            self._scores = numpy.lib.format.open_memmap(
                scores, mode="w+", dtype=numpy.float32, shape=shape
            )
            write_whole(self.part / IDS, json.dumps({"query_ids": query_ids, "train_ids": train_ids}))
            write_whole(marker, json.dumps(self._inputs))

    def _refuse_others(self, before: Dict[str, Any], directory: Path) -> None:
        if before == self._inputs:
            return
        different = sorted(
            key for key in {*self._inputs, *before} if before.get(key) != self._inputs.get(key)
        )
        raise ConfigurationError(
            f"{directory} was made with other inputs ({', '.join(different)} differ): results are not mixed; "
            "choose another directory, or delete it"
        )


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".tmp")
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def sha256_of_examples(examples: Iterable[Example]) -> str:
    """Hex digest of all that is known of examples."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(json.dumps(asdict(example)).encode())
    return digest.hexdigest()


def sha256_of_archive(path: PathLike) -> str:
    """Hex digest of an archive's bytes; of a directory, of the files in it that make up a model."""
    path = Path(path)
    digest = hashlib.sha256()
    for part in [path] if path.is_file() else sorted(_files_of_model(path)):
        if part != path:
            digest.update(str(part.relative_to(path)).encode())
        with open(part, "rb") as file:
            for chunk in iter(lambda: file.read(1 << 20), b""):
                digest.update(chunk)
    return digest.hexdigest()


def _files_of_model(directory: Path) -> Iterable[Path]:
    """As `load_archive` reads them."""
    yield from (directory / "vocabulary").glob("[!.]*")
    for name in ("config.json", "weights.th", "best.th"):
        if (directory / name).exists():
            yield directory / name
