"""Where everything is kept, and what it is made of."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Mapping

from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict

from allennlp_influence.influence.results import write_whole
from paper.data import Data
from paper.sizes import Size

SETTINGS = "settings.json"
SST2, MNLI = TASKS = ("sst2", "mnli")


@dataclass(frozen=True)
class Work:
    """
    A folder in which stages leave their results, each at once when it is complete: what is there is not done again.

    # Parameters

    folder : `Path`
    size : `Size`
    data : `Data`
    given : `Mapping[str, Path]`
        Archives that are trained already: of `sst2` and `mnli`.
    minutes : `float`
        After which no more retraining is begun.
    processes : `int`
        That retrain.
    docs : `Path`
        Where the document, its figures and the retrained models' predictions are written.
    """

    folder: Path
    size: Size
    data: Data
    given: Mapping[str, Path]
    minutes: float
    processes: int
    docs: Path

    def archive(self, task: str) -> Path:
        """Of the classifier for `sst2` or `mnli`."""
        return Path(self.given.get(task) or self.folder / "models" / task / "model.tar.gz")

    def train_data(self, task: str) -> Path:
        """The training file of `sst2` or `mnli`."""
        return self.data.sst2_train if task == "sst2" else self.data.mnli_train

    @property
    def cache(self) -> str:
        """Folder for what does not depend on the inputs."""
        return str(self.folder / "cache")

    def inputs(self, run: str) -> Path:
        """The explained inputs of `sst2`, `hans` or `others`."""
        return self.folder / "inputs" / f"{run}.tsv"

    def place(self, stage: str, run: str, damping: str) -> Path:
        """Where a stage leaves its results for a run at a λ."""
        return self.folder / stage / f"{run}-lambda-{damping}"

    def begin(self) -> None:
        """
        # Raises

        `ConfigurationError` if the folder was begun with other data, models or sizes.
        """
        # one that is not trained yet may be given later
        used = [task for task in TASKS if self.archive(task).exists() or task in self.given]
        settings = {
            "size": json.loads(json.dumps(asdict(self.size))),
            "data": self.data.hashes(),
            "archives": {task: str(self.archive(task)) for task in used},
        }
        path = self.folder / SETTINGS
        before = read(path) or settings
        settings["archives"] = {**before["archives"], **settings["archives"]}
        different = [key for key in ("size", "data") if settings[key] != before[key]]
        different += [
            f"the archive of {task}"
            for task, archive in before["archives"].items()
            if archive != settings["archives"][task]
        ]
        if different:
            raise ConfigurationError(
                f"{self.folder} was begun with other settings ({', '.join(different)} differ): choose another "
                "folder with OUT, or delete it"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write(path, settings)


def task_of(run: str) -> str:
    """Which classifier a run explains."""
    return SST2 if run == "sst2" else MNLI


def read(path: Path) -> Any:
    """The content of a JSON file; `None` if it is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write(path: Path, content: JsonDict) -> None:
    """A JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
