"""Scores at other weights than the archive's: the checkpoints of one training, or models of several."""

import functools
import hashlib
import math
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

import torch
from allennlp.common.checks import ConfigurationError
from allennlp.models import load_archive
from torch import Tensor, nn

from allennlp_influence.engine import (
    Batch,
    Curvature,
    Diagnosis,
    InverseCurvature,
    Solution,
    TrainingSet,
)


class Checkpoint:
    """
    One point θ at which influence is computed.

    # Parameters

    training_set : `TrainingSet`, required
        Its objective has θ.
    solver : `InverseCurvature`, required
        Used here only: it keeps what it has computed of this curvature.
    """

    def __init__(self, training_set: TrainingSet, solver: InverseCurvature) -> None:
        self.training_set, self.solver = training_set, solver

    @functools.cached_property
    def curvature(self) -> Curvature:
        """The curvature that the solver is configured for."""
        return self.solver.curvature_of(self.training_set)

    @functools.cached_property
    def self_influence(self) -> Tensor:
        """`(N,)`, see `InverseCurvature.self_influence`."""
        return self.solver.self_influence(self.curvature)

    def gradients(self, batches: Sequence[Batch]) -> Tensor:
        """∇L_q of queries, one in a batch each, `(num_queries, space.size)`."""
        return torch.stack([self.training_set.objective.gradient(batch) for batch in batches])

    def influence(self, gradients: Tensor) -> Tuple[Tensor, List[Diagnosis]]:
        """Scores `(num_queries, N)` and diagnoses of queries with these gradients."""
        return self.solver.influence(self.curvature, gradients)

    def influence_by_solution(self, gradients: Tensor) -> Tuple[Tensor, Solution]:
        """Scores `(num_queries, N)` of queries with these gradients, and what solves their systems."""
        return self.solver.influence_by_solution(self.curvature, gradients)


def mean_log_probabilities(at_each: Sequence[Tensor]) -> Tensor:
    """Of the mean of the probabilities."""
    return torch.stack(list(at_each)).logsumexp(0) - math.log(len(at_each))


def mean_self_influence(at_each: Sequence[Tensor]) -> Tensor:
    """
    The geometric mean. Self-influence has a heavy tail, which a single point of several would decide if it were the arithmetic
    one; this way they find more wrong labels (docs/validation.md).
    """
    return torch.stack(list(at_each)).log().mean(0).exp()


def worst(diagnoses: Sequence[Diagnosis]) -> Diagnosis:
    """Of one query at several checkpoints."""

    def of_those_measured(choose: Any, name: str) -> Any:
        return choose((v for v in (getattr(d, name) for d in diagnoses) if v is not None), default=None)

    return Diagnosis(
        converged=all(d.converged for d in diagnoses),
        steps=max(d.steps for d in diagnoses),
        residual=of_those_measured(max, "residual"),
        lambda_max=of_those_measured(max, "lambda_max"),
        lambda_min=of_those_measured(min, "lambda_min"),
        energy=of_those_measured(max, "energy"),
    )


class Weights(NamedTuple):
    """The trained parameters of a checkpoint, and where they were read."""

    path: str
    parameters: Dict[str, Tensor]

    def sha256(self) -> str:
        """Hex digest of the parameters."""
        digest = hashlib.sha256()
        for name, tensor in self.parameters.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()


def read_weights(paths: Sequence[str], model: nn.Module, trained: Collection[str]) -> List[Weights]:
    """
    # Parameters

    paths : `Sequence[str]`, required
        Files of weights (`.th`), archives, or serialization directories of `allennlp train`, which stand for all
        checkpoints that it has kept there (`checkpointer.keep_most_recent_by_count`), or for its best weights
        if there are none.
    model : `nn.Module`, required
        The archive's. What is not trained must be the same in all.
    trained : `Collection[str]`, required
        Names of the trained parameters.

    # Raises

    `ConfigurationError` naming what can't be read or does not fit the model.
    """
    own = model.state_dict()
    found = []
    for path in paths:
        for name, state in _states(path):
            _check(name, state, own, set(trained))
            found.append(Weights(name, {key: state[key].to(own[key]) for key in trained}))
    return found


def kept_in(directory: Path) -> List[Path]:
    """The checkpoints that training has kept in its serialization directory, in their order."""
    return sorted(directory.glob("model_state_e*.th"), key=_epoch_and_batch)


def _states(path: str) -> Iterator[Tuple[str, Mapping[str, Tensor]]]:
    kept = kept_in(Path(path))
    files = kept or ([Path(path)] if path.endswith(".th") else [])
    for file in files:
        try:
            yield str(file), torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever pickle meets
            raise ConfigurationError(f"checkpoint {file} can't be read: {_first_line(error)}") from error
    if not files:
        try:
            yield path, load_archive(path).model.state_dict()
        except Exception as error:
            raise ConfigurationError(
                f"checkpoint {path} is no file of weights, archive or serialization directory: {_first_line(error)}"
            ) from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _epoch_and_batch(path: Path) -> List[int]:
    """Of `model_state_e3_b120.th`."""
    return [int("".join(filter(str.isdigit, part)) or 0) for part in path.stem.split("_")[2:]]


def _check(
    path: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor], trained: Collection[str]
) -> None:
    for name, tensor in own.items():
        if name not in state or state[name].shape != tensor.shape:
            raise ConfigurationError(f"checkpoint {path} is of another model: its {name} does not fit the archive's")
        if name not in trained and not torch.equal(state[name].to(tensor), tensor):
            raise ConfigurationError(
                f"checkpoint {path} has another {name} than the archive, which counts as frozen: checkpoints may differ "
                "in what is trained only"
            )
