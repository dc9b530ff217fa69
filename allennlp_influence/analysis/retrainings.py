"""Many trainings again: each is noted on disk when it is done, so that none is ever done twice."""

import concurrent.futures
import hashlib
import importlib
import json
import multiprocessing
import os
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy
import torch
from allennlp.common import Params, Registrable
from allennlp.common.checks import ConfigurationError
from filelock import FileLock, Timeout

from allennlp_influence.analysis.retrainer import Retrainer
from allennlp_influence.influence.reading import one_line

JOURNAL = "retrainings.jsonl"
_LOCK = ".lock"


class Retraining(NamedTuple):
    """The arguments of `Retrainer.log_probabilities`."""

    seed: int
    leave_out: Tuple[int, ...] = ()
    labels: Tuple[Tuple[int, int], ...] = ()

    @property
    def key(self) -> str:
        """Hex digest of what is trained, in whatever order it was named."""
        content = [self.seed, sorted(set(self.leave_out)), sorted(self.labels)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


class Journal:
    """
    The log probabilities of what was trained, in a file of a line each. A line that was being written when the process
    was killed is forgotten. As a context manager: the directory is no other process's until its end.

    # Parameters

    directory : `Path`, required
        Made if it is not there.
    inputs : `Mapping[str, Any]`, required
        All that the log probabilities depend on beside seed, examples and labels, at least the retrainer's
        `fingerprint`; JSON-serialisable.

    # Raises

    `ConfigurationError` if the journal was begun with other inputs, is damaged, or is being written by another process.
    """

    def __init__(self, directory: Path, inputs: Mapping[str, Any]) -> None:
        self.path = Path(directory) / JOURNAL
        self._inputs = json.loads(json.dumps(inputs))
        self._done: Dict[str, numpy.ndarray] = {}
        self.seconds: Dict[str, float] = {}
        """What each retraining took, by its key."""
        self.devices: Dict[str, str] = {}
        """What each was trained on, by its key."""
        self._lock = FileLock(self.path.with_name(_LOCK), timeout=0)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise ConfigurationError(
                f"{directory} is being written by another process; wait for its end, or choose another directory"
            ) from error
        except OSError as error:
            raise ConfigurationError(f"{directory} can't be written: {error}") from error
        try:
            self._begin()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._lock.release()

    def __contains__(self, retraining: Retraining) -> bool:
        return retraining.key in self._done

    def __getitem__(self, retraining: Retraining) -> numpy.ndarray:
        """Log probabilities `(num_queries, num_classes)`."""
        return self._done[retraining.key]

    def __len__(self) -> int:
        return len(self._done)

    def add(
        self, retraining: Retraining, log_probabilities: numpy.ndarray, seconds: float, device: str
    ) -> None:
        """On disk when this returns."""
        line = {
            "key": retraining.key,
            "seed": retraining.seed,
            "left_out": len(set(retraining.leave_out)),
            "relabelled": len(retraining.labels),
            "seconds": round(seconds, 3),
            "device": device,
            "log_probabilities": log_probabilities.tolist(),
        }
        self._append(line)
        self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        self._done[line["key"]] = numpy.array(line["log_probabilities"])
        self.seconds[line["key"]] = line["seconds"]
        self.devices[line["key"]] = line["device"]

    def _begin(self) -> None:
        text = self.path.read_bytes() if self.path.exists() else b""
        complete = text[: text.rfind(b"\n") + 1]
        if complete != text:
            os.truncate(self.path, len(complete))
        try:
            lines = [json.loads(line) for line in complete.splitlines()]
            before = lines[0]["inputs"] if lines else self._inputs
            for line in lines[1:]:
                self._take(line)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{self.path} is damaged ({error}); delete it or choose another directory"
            ) from error
        if before != self._inputs:
            different = [
                key for key in {**self._inputs, **before} if before.get(key) != self._inputs.get(key)
            ]
            raise ConfigurationError(
                f"{self.path.parent} was made with other inputs ({', '.join(different)} differ): results are not mixed; "
                "choose another directory, or delete it"
            )
        if not lines:
            self._append({"inputs": self._inputs})

    def _append(self, line: Mapping[str, Any]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def make_retrainer(config: Mapping[str, Any]) -> Retrainer:
    """
    # Parameters

    config : `Mapping[str, Any]`
        The `type` of a `Retrainer` and the arguments of its constructor.

    # Raises

    `ConfigurationError` if there is no such retrainer, or it can't be made.
    """
    name, known = config.get("type", Retrainer.default_implementation), Retrainer.list_available()
    if not isinstance(name, str) or not (name in known or "." in name):
        raise ConfigurationError(f"retrainer {name!r} is none of {', '.join(sorted(known))}")
    try:
        return Retrainer.from_params(Params(dict(config)))
    except (TypeError, ValueError) as error:  # an option of the wrong type
        raise ConfigurationError(f"the retrainer can't be made: {one_line(error)}") from error


def retrain(
    retrainings: Sequence[Retraining],
    journal: Journal,
    retrainer: Retrainer,
    config: Mapping[str, Any],
    *,
    processes: int = 1,
    max_seconds: Optional[float] = None,
) -> Iterator[float]:
    """
    Trains what is not in the journal yet, in this order, and notes it there.

    # Parameters

    retrainings : `Sequence[Retraining]`
    journal : `Journal`
    retrainer : `Retrainer`
    config : `Mapping[str, Any]`
        What `make_retrainer` makes `retrainer` of, for the other processes.
    processes : `int`, optional (default = `1`)
        They share this process's threads.
    max_seconds : `float`, optional (default = `None`)
        Nothing is begun after that.

    # Returns

    `Iterator[float]`
        The seconds that each took, when it is noted.

    # Raises

    `ConfigurationError` if training fails, or a process dies.
    """
    end = time.monotonic() + (float("inf") if max_seconds is None else max_seconds)
    missing = {r.key: r for r in retrainings if r not in journal}.values()
    pending = iter(missing)
    if min(processes, len(missing)) <= 1:
        for retraining in pending:
            if time.monotonic() >= end:
                return
            journal.add(retraining, *_timed(retrainer, retraining))
            yield journal.seconds[retraining.key]
        return
    threads = max(1, torch.get_num_threads() // processes)
    modules = _modules_of_registered_classes()
    if torch.cuda.is_available():  # what is imported there may have asked for GPUs, after which no fork can use them
        context = multiprocessing.get_context("spawn")
    else:  # forked from a fresh process with all imports done: this one may have threads
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(modules)
    executor = concurrent.futures.ProcessPoolExecutor(
        processes, context, _start_worker, (dict(config), threads, modules)
    )
    running: Dict[concurrent.futures.Future, Retraining] = {}
    try:
        while True:
            while len(running) < processes and time.monotonic() < end:
                retraining = next(pending, None)
                if retraining is None:
                    break
                running[executor.submit(_work, retraining)] = retraining
            if not running:
                return
            done, _ = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                retraining = running.pop(future)
                journal.add(retraining, *future.result())
                yield journal.seconds[retraining.key]
    except BrokenProcessPool as error:
        raise ConfigurationError(
            "a process that was training died, perhaps for want of memory; what is done is kept: run the same command "
            "again, with fewer processes"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)
        for future, retraining in running.items():  # of another one's failure
            if not future.cancelled() and future.exception() is None:
                journal.add(retraining, *future.result())


def check_seeds(seeds: Sequence[int]) -> None:
    """
    # Raises

    `ConfigurationError` unless these are different numbers that numpy and torch take as seeds.
    """
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
        raise ConfigurationError(
            f"--seeds takes different numbers from 0 to 2³² − 1, not {' '.join(map(str, seeds)) or 'none'}"
        )


def _timed(retrainer: Retrainer, retraining: Retraining) -> Tuple[numpy.ndarray, float, str]:
    start = time.perf_counter()
    seed, leave_out, labels = retraining
    result = retrainer.log_probabilities(leave_out, seed, dict(labels))
    return result, time.perf_counter() - start, retrainer.device


def _modules_of_registered_classes() -> List[str]:
    """So that plugins, and what the user has imported, are known in the other processes."""
    registered = (entry for registry in Registrable._registry.values() for entry, _ in registry.values())
    return sorted({entry.__module__ for entry in registered} - {"__main__"})


# -- in the other processes ------------------------------------------------------------------------

_retrainer: Optional[Retrainer] = None


def _start_worker(config: Dict[str, Any], threads: int, modules: List[str]) -> None:
    global _retrainer
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    for module in modules:  # those that could not be loaded before sys.path was as in the parent
        importlib.import_module(module)
    _retrainer = make_retrainer(config)


def _end_with(parent: Any) -> None:
    """A process that is killed can't end those that it started."""
    parent.join()
    os._exit(1)


def _work(retraining: Retraining) -> Tuple[numpy.ndarray, float, str]:
    return _timed(_retrainer, retraining)
