"""What a solver is: (C + λI)⁻¹ applied to a block of query gradients."""

import copy
from dataclasses import dataclass, replace
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from allennlp.common import Registrable
from allennlp.common.checks import ConfigurationError
from torch import Tensor

from allennlp_influence.engine.curvature import Curvature
from allennlp_influence.engine.rows import dots
from allennlp_influence.engine.scoring import influence_scores
from allennlp_influence.engine.training_set import TrainingSet


@dataclass(frozen=True)
class Diagnosis:
    """
    How well one query's system was solved.

    `residual` is ‖(C + λI)x − v‖ / ‖v‖ over the examples of C (`None` where the solver has not measured
    it), `energy` is vᵀ(C + λI)⁻¹v, `steps` the number of iterations, `lambda_max` and `lambda_min` the largest and the smallest
    Rayleigh quotient ⟨u, Cu⟩ / ⟨u, u⟩ that the solver came upon: bounds of the extreme eigenvalues from
    inside.
    """

    converged: bool
    steps: int
    residual: Optional[float] = None
    lambda_max: Optional[float] = None
    lambda_min: Optional[float] = None
    energy: Optional[float] = None


class Solution(NamedTuple):
    """x = (C + λI)⁻¹v `(num_queries, space.size)` and a diagnosis for each row."""

    vectors: Tensor
    diagnoses: List[Diagnosis]


class InverseCurvature(Registrable):
    """
    A solver of (C + λI) x = v.

    # Parameters

    damping : `float`, optional (default = `30.0`)
        λ, in units of the curvature C.
    curvature : `str`, optional (default = `"hessian"`)
        `hessian` or `gauss-newton`.
    num_examples : `int`, optional (default = `None`)
        Of the training examples that C is the mean of, drawn with `seed`; all by default.
    seed : `int`, optional (default = `0`)
    """

    default_implementation = "gauss-newton"

    # θ-sized vectors that are alive for each query, from which the size of a block is chosen
    vectors_per_query: int = 1
    # whether `self_influence` is a matter of the training gradients alone, not of a system for each
    has_self_influence: bool = False

    def __init__(
        self,
        damping: float = 30.0,
        curvature: str = "hessian",
        num_examples: Optional[int] = None,
        seed: int = 0,
    ) -> None:
        if not damping > 0:
            raise ConfigurationError(f"damping must be positive, not {damping}")
        self.damping = float(damping)
        self.kind = curvature
        self.num_examples = num_examples
        self.seed = seed

    def curvature_of(self, training_set: TrainingSet) -> Curvature:
        """The curvature that this solver is configured for."""
        return Curvature(training_set, self.kind, self.num_examples, self.seed)

    def prepare(self, curvature: Curvature, most_gigabytes: float) -> None:
        """
        Computes and keeps what pays off where single queries come one after the other: see `TrainingSet.keep_gradients`.
        """
        curvature.training_set.keep_gradients(most_gigabytes)

    def solve(self, curvature: Curvature, vectors: Tensor) -> Solution:
        """
        # Parameters

        curvature : `Curvature`, required
        vectors : `Tensor`, required
            v, one query a row, `(num_queries, space.size)`.
        """
        raise NotImplementedError

    def apply(self, curvature: Curvature, vectors: Tensor) -> Tensor:
        """x by itself; a solver whose diagnosis costs something leaves it out here."""
        return self.solve(curvature, vectors).vectors

    def influence(
        self, curvature: Curvature, vectors: Tensor
    ) -> Tuple[Tensor, List[Diagnosis]]:
        """
        Scores of all training examples `(num_queries, N)`, see `influence_scores`, for query gradients `(num_queries,
        space.size)`. A solver that has a shorter way to them than by x takes it here.
        """
        scores, solution = self.influence_by_solution(curvature, vectors)
        return scores, solution.diagnoses

    def influence_by_solution(
        self, curvature: Curvature, vectors: Tensor
    ) -> Tuple[Tensor, Solution]:
        """The scores of `influence` by way of x, and x."""
        solution = self.solve(curvature, vectors)
        diagnoses = [
            replace(diagnosis, energy=float(energy))
            for diagnosis, energy in zip(solution.diagnoses, dots(vectors, solution.vectors))
        ]
        scores = self._scores(curvature, vectors, solution.vectors)
        return scores, Solution(solution.vectors, diagnoses)

    def _scores(self, curvature: Curvature, vectors: Tensor, solved: Tensor) -> Tensor:
        return influence_scores(curvature.training_set, solved)

    def at(self, damping: float) -> "InverseCurvature":
        """The same solver with another λ."""
        other = copy.copy(self)
        other.damping = damping
        return other

    def influence_at(
        self, curvature: Curvature, vectors: Tensor, dampings: Sequence[float]
    ) -> Iterator[Tuple[Tensor, List[Diagnosis]]]:
        """
        `influence` with each of these λ. A solver whose work hardly depends on λ does it once here.
        """
        for damping in dampings:
            yield self.at(damping).influence(curvature, vectors)

    def self_influence(self, curvature: Curvature) -> Tensor:
        """
        ∇L_iᵀ (C + λI)⁻¹ ∇L_i / N of every training example, `(N,)`: by how much its own loss would rise, to first
        order, if it were removed.

        # Raises

        `ConfigurationError` if the solver has no other way to it than a system for every training example.
        """
        raise ConfigurationError(self.no_self_influence(curvature))

    def no_self_influence(self, curvature: Curvature) -> Optional[str]:
        """
        Why `self_influence` would take much longer than the scores of a block of queries do, or can't be had, in words
        for the user; `None` if it is about one pass over the training examples.
        """
        if not self.has_self_influence:
            return (
                f"self-influence with {type(self).__name__} would take a system for every training example; choose "
                "the solver gauss-newton, ek-fac, spectral or identity"
            )
        if not curvature.training_set.gradients.by_module:
            return (
                "self-influence would take a backward pass for every training example, since this model's gradients "
                "can't be read off its modules"
            )
        return None

    def expected_preparation_seconds(self, curvature: Curvature) -> float:
        """About how long what serves all blocks of queries takes, if nothing of it is kept; measured on a batch."""
        return 0.0

    def expected_passes(self, num_examples: int) -> float:
        """
        About how many products with the curvature of `num_examples` training examples a block of queries takes,
        for the user to know the cost beforehand.
        """
        raise NotImplementedError


class NotSolvedError(ConfigurationError):
    """The system can't be solved as configured; the message names the value to change."""
