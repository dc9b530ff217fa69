"""Scores at models of the bank: those that were trained on all training examples."""

import copy
import functools
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy
import torch
from torch import Tensor

from allennlp_influence.analysis.model_bank import ModelBank
from allennlp_influence.analysis.retrainings import Retraining
from allennlp_influence.engine import Curvature, InverseCurvature, NotSolvedError, Store
from allennlp_influence.influence.solver_config import complete_solver_config, make_solver

_FIRST_SEED = 1000  # apart from those of the models that are measured


class Scored(NamedTuple):
    """
    Scores `(num_queries, N)` by one solver and λ, or why there are none.

    `seconds` are what they took: the first of several λ pays for what serves them all, unless that was kept.
    `residual` is the largest of the queries', where the solver measures it.
    """

    scores: Optional[numpy.ndarray]
    seconds: float
    residual: Optional[float] = None
    error: Optional[str] = None


def combined(
    parts: Sequence[Scored], join: Callable[[Sequence[numpy.ndarray]], numpy.ndarray]
) -> Scored:
    """The scores joined, the time of all, the largest residual, the first error."""
    scores, seconds, residuals, errors = zip(*parts)
    error = next((e for e in errors if e is not None), None)
    return Scored(
        join(scores) if error is None else None,
        sum(seconds),
        max((r for r in residuals if r is not None), default=None),
        error,
    )


class ExplainedModel:
    """
    A model that was trained on all training examples, and the scores at it. They are kept in the bank, and so is
    what does not depend on the queries.

    # Parameters

    bank : `ModelBank`, required
    number : `int`, required
        From 0; each is another seed.
    labels : `Mapping[int, int]`, optional (default = `None`)
        Class indices that take the place of the own labels of training examples, by place.
    """

    def __init__(
        self,
        bank: ModelBank,
        number: int,
        labels: Optional[Mapping[int, int]] = None,
    ) -> None:
        labels = labels or {}
        self.retraining = Retraining(_FIRST_SEED + number, (), tuple(sorted(labels.items())))
        self._bank = bank
        self.training_labels = [
            labels.get(place, label) for place, label in enumerate(bank.retrainer.training_labels)
        ]
        """What it was trained on, `(N,)`."""
        self._place(bank.parameters(self.retraining), self.retraining.key)

    def _place(self, parameters: Mapping[str, Tensor], key: str) -> None:
        retrainer = self._bank.retrainer
        parameters = {n: tensor.to(retrainer.objective.device) for n, tensor in parameters.items()}
        self._key = key
        self.log_probabilities = retrainer.log_probabilities_at(parameters)
        """Of the queries `(num_queries, num_classes)`."""
        self.training_set = retrainer.training_set.relabelled(self.training_labels).at(
            parameters, Store(self._bank.directory / key)
        )

    def at(self, parameters: Mapping[str, Tensor], key: str) -> "ExplainedModel":
        """The same model with other values of its trained parameters; what is kept of it goes by `key`."""
        other = copy.copy(self)
        other._place(parameters, key)
        return other

    @functools.cached_property
    def by_epoch(self) -> List["ExplainedModel"]:
        """The same model at the end of each epoch of its training; itself where that is how training left it."""
        own = self.training_set.objective.parameters
        return [
            self
            if all(torch.equal(value.to(own[name]), own[name]) for name, value in parameters.items())
            else self.at(parameters, f"{self.retraining.key}-epoch{epoch}")
            for epoch, parameters in enumerate(self._bank.parameters_by_epoch(self.retraining))
        ]

    def training_losses(self) -> numpy.ndarray:
        """`(N,)`, at the labels that it was trained on, in nats."""
        log_p = self.training_set.log_probabilities().double().numpy()
        return 0.0 - log_p[numpy.arange(len(log_p)), self.training_labels]

    def scores(
        self, solver: Mapping[str, Any], dampings: Sequence[float], labels: Sequence[int]
    ) -> Dict[float, Scored]:
        """
        # Parameters

        solver : `Mapping[str, Any]`
            What it is configured with, without damping.
        dampings : `Sequence[float]`
            Every λ.
        labels : `Sequence[int]`
            The class of every query that is explained.
        """
        path = functools.partial(self._path, solver, labels)
        found = {damping: _read(path(damping)) for damping in dampings}
        missing = [damping for damping, scored in found.items() if scored is None]
        if missing:
            for damping, scored in self._compute(solver, missing, labels):
                _write(path(damping), scored)
                found[damping] = scored
        return found

    def self_influence(self, solver: Mapping[str, Any], dampings: Sequence[float]) -> numpy.ndarray:
        """For every λ, `(num_dampings, N)`, see `InverseCurvature.self_influence`."""
        own = make_solver({**solver, "damping": dampings[0]})
        curvature = own.curvature_of(self.training_set)
        rows = [own.at(damping).self_influence(curvature) for damping in dampings]
        return torch.stack(rows).double().numpy()

    def _compute(
        self, solver: Mapping[str, Any], dampings: Sequence[float], labels: Sequence[int]
    ) -> Iterator[Tuple[float, Scored]]:
        own = make_solver({**solver, "damping": dampings[0]})
        curvature = own.curvature_of(self.training_set)
        parts: Dict[float, List[Scored]] = {damping: [] for damping in dampings}
        for gradients in self._gradients(labels, own.vectors_per_query):
            for damping, part in _at_each(own, curvature, gradients, dampings):
                parts[damping].append(part)
        for damping, blocks in parts.items():
            yield damping, combined(blocks, numpy.concatenate)

    def _gradients(self, labels: Sequence[int], vectors_per_query: int) -> Iterator[Tensor]:
        """∇L of the queries at these labels, `(num_queries, space.size)` of some of them at a time."""
        objective, queries = self.training_set.objective, self._bank.retrainer.query_set
        element = next(iter(objective.parameters.values())).element_size()
        each = vectors_per_query * objective.space.size * element
        size = int(max(1, self.training_set.memory_budget.vectors * 1e9 // each))
        relabelled = queries.relabelled(labels)
        for begin in range(0, len(labels), size):
            numbers = range(len(labels))[begin : begin + size]
            yield torch.stack([objective.gradient(relabelled.batch([q])) for q in numbers])

    def _path(self, solver: Mapping[str, Any], labels: Sequence[int], damping: float) -> Path:
        config = complete_solver_config({**solver, "damping": damping})
        content = json.dumps([self._key, config, list(map(int, labels))], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:32]
        return self._bank.directory / f"scores-{digest}.npz"


def _at_each(
    solver: InverseCurvature,
    curvature: Curvature,
    gradients: Tensor,
    dampings: Sequence[float],
) -> Iterator[Tuple[float, Scored]]:
    """Goes on with the next λ where a system can't be solved."""
    left = list(dampings)
    while left:
        start = time.perf_counter()
        try:
            for scores, diagnoses in solver.influence_at(curvature, gradients, list(left)):
                residuals = [d.residual for d in diagnoses if d.residual is not None]
                seconds = time.perf_counter() - start
                scores = scores.float().numpy()
                yield left.pop(0), Scored(scores, seconds, max(residuals, default=None))
                start = time.perf_counter()
        except NotSolvedError as error:
            yield left.pop(0), Scored(None, time.perf_counter() - start, error=error.message)


def _read(path: Path) -> Optional[Scored]:
    try:
        with numpy.load(path) as kept:
            scores, seconds, residual, error = (kept[name] for name in Scored._fields)
    except (OSError, ValueError, KeyError, EOFError):  # not there, or damaged: it is made again
        return None
    return Scored(
        scores if scores.size else None,
        float(seconds),
        None if numpy.isnan(residual) else float(residual),
        str(error) or None,
    )


def _write(path: Path, scored: Scored) -> None:
    part = path.with_suffix(".part")
    scores, seconds, residual, error = scored
    with open(part, "wb") as file:
        numpy.savez(
            file,
            scores=numpy.empty(0) if scores is None else scores,
            seconds=seconds,
            residual=numpy.nan if residual is None else residual,
            error=error or "",
        )
    os.replace(part, path)
