"""Models trained again for measurement, kept on disk: whatever is measured on them, each is trained once."""

import os
import shutil
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

import numpy
from allennlp.common import Tqdm
from allennlp.common.checks import ConfigurationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from allennlp_influence.analysis.retrainings import Journal, Retraining, make_retrainer, retrain


class ModelBank:
    """
    The models of one retrainer, in a folder that is named after its fingerprint: a line of a `Journal` for each, and
    the trained parameters of those that are explained. A run that was stopped goes on after the last model. As a
    context manager: the folder is no other process's until its end.

    # Parameters

    directory : `Path`, required
        Holds the folders of all retrainers.
    config : `Mapping[str, Any]`, required
        Of the retrainer, see `make_retrainer`.
    processes : `int`, optional (default = `1`)
        That train at the same time.

    # Raises

    `ConfigurationError` as `make_retrainer` and `Journal`.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any], processes: int = 1) -> None:
        self._config = dict(config)
        if self._config.get("type") == "trained-layers":  # where all processes find them
            self._config.setdefault("cache_dir", str(directory))
        self._processes = processes
        self.retrainer = make_retrainer(self._config)
        self.directory = Path(directory) / self.retrainer.fingerprint
        self._journal = Journal(self.directory, {"retrainer": self.retrainer.fingerprint})

    def __enter__(self) -> "ModelBank":
        self._journal.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._journal.__exit__(*exception)

    def missing(self, retrainings: Sequence[Retraining]) -> int:
        """How many of these are not in the bank."""
        return len({each.key for each in retrainings if each not in self._journal})

    @property
    def seconds(self) -> List[float]:
        """What each model of the bank took."""
        return list(self._journal.seconds.values())

    def log_probabilities(self, retrainings: Sequence[Retraining]) -> numpy.ndarray:
        """
        `(len(retrainings), num_queries, num_classes)`, see `Retrainer.log_probabilities`; trains what is missing, in this
        order.
        """
        trained = retrain(
            retrainings, self._journal, self.retrainer, self._config, processes=self._processes
        )
        number = self.missing(retrainings)
        for _ in Tqdm.tqdm(trained, total=number, desc="models", disable=not number):
            pass
        return numpy.stack([self._journal[each] for each in retrainings])

    def parameters(self, retraining: Retraining) -> Dict[str, Tensor]:
        """
        The trained parameters of a model.

        # Raises

        `ConfigurationError` if the retrainer keeps none.
        """
        path = self.directory / f"{retraining.key}.safetensors"
        if path.exists():
            return _read(path)
        parameters = self._explained("parameters", retraining)
        part = path.with_name(f"{path.name}.part")
        _write(parameters, part)
        os.replace(part, path)
        return parameters

    def parameters_by_epoch(self, retraining: Retraining) -> List[Dict[str, Tensor]]:
        """
        The trained parameters of a model at the end of every epoch.

        # Raises

        `ConfigurationError` if the retrainer keeps none.
        """
        directory = self.directory / f"{retraining.key}-epochs"
        if directory.exists():
            return [_read(path) for path in sorted(directory.iterdir())]
        of_epochs = self._explained("parameters_by_epoch", retraining)
        part = directory.with_name(f"{directory.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for number, parameters in enumerate(of_epochs):
            _write(parameters, part / f"{number:04d}.safetensors")
        os.replace(part, directory)
        return of_epochs

    def _explained(self, what: str, retraining: Retraining) -> Any:
        if not hasattr(self.retrainer, what):
            raise ConfigurationError(
                "models of the retrainer 'allennlp' can be measured, but not explained: take 'trained-layers'"
            )
        seed, leave_out, labels = retraining
        return getattr(self.retrainer, what)(leave_out, seed, dict(labels))


def _read(path: Path) -> Dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigurationError(f"{path} can't be read ({error}); delete it") from error


def _write(parameters: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in parameters.items()}, path)


def random_subsets(
    size: int, number: int, share_left_out: float = 0.5, seed: int = 0
) -> numpy.ndarray:
    """
    What random subsets leave out: `(number, size)` of `bool`, with the same number of places, at least one, in every
    row. The first rows are the same whatever the number.
    """
    left_out = numpy.zeros((number, size), dtype=bool)
    for index, row in enumerate(left_out):
        order = numpy.random.default_rng([seed, index]).permutation(size)
        row[order[: max(1, int(size * share_left_out))]] = True
    return left_out


def retrainings_without(left_out: numpy.ndarray, seeds: Sequence[int]) -> List[Retraining]:
    """Of every row of `left_out` with every seed: all rows with the first seed, then all with the second."""
    rows = [tuple(numpy.flatnonzero(row).tolist()) for row in left_out]
    return [Retraining(seed, row) for seed in seeds for row in rows]
