"""`allennlp influence` from the archive to the result directory, and the memory that it takes meanwhile."""

import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, Sequence

from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.influence.results import open_results
from subject import Subject


def measure(subject: Sequence[Any], solver: Dict[str, Any]) -> Dict[str, Any]:
    """
    Seconds of the whole run, nothing being kept from an earlier one, by stage as the run itself counts them, and two
    peaks of memory over what there was before: of its own, and with the pages of files that it has mapped, which the
    system takes back when it needs them.
    """
    of = Subject(*subject)
    with tempfile.TemporaryDirectory() as folder, Memory() as memory:
        start = time.perf_counter()
        explain_archive(
            of.archive_file,
            of.inputs,
            f"{folder}/results",
            train_data=of.train_data,
            solver=solver,
            cache_dir=f"{folder}/cache",
            overrides=of.overrides,
        )
        seconds = time.perf_counter() - start
        stages = open_results(f"{folder}/results").provenance["stages"]
    return {
        "seconds": seconds,
        "how": "measured",
        "stages": {stage["name"]: stage["seconds"] for stage in stages},
        **memory.peaks_gb,
    }


class Memory:
    """The peaks of this process's resident memory between two moments, looked at ten times a second."""

    def __enter__(self) -> "Memory":
        self._before = _resident_gb()
        self.peaks_gb = {name: 0.0 for name in self._before}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            for name, value in _resident_gb().items():
                self.peaks_gb[name] = max(self.peaks_gb[name], value - self._before[name])


def _resident_gb() -> Dict[str, float]:
    status = Path("/proc/self/status").read_text()

    def value(key: str) -> float:
        return int(status.split(f"{key}:")[1].split()[0]) * 1024 / 1e9

    return {"own_memory_gb": value("RssAnon"), "with_mapped_files_gb": value("VmRSS")}
