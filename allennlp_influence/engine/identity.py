"""No curvature: the gradient dot product."""

from torch import Tensor

from allennlp_influence.engine.curvature import Curvature
from allennlp_influence.engine.inverse_curvature import Diagnosis, InverseCurvature, Solution
from allennlp_influence.engine.scoring import of_training_gradients, squared_norms


@InverseCurvature.register("identity")
class Identity(InverseCurvature):
    """
    x = v / λ: what (C + λI)⁻¹v tends to when λ is far above every eigenvalue of C. Scores are dot products
    of gradients then (TracIn at one checkpoint, Pruthi et al. 2020).

    Registered as an `InverseCurvature` with name "identity".
    """

    has_self_influence = True

    def solve(self, curvature: Curvature, vectors: Tensor) -> Solution:
        diagnosis = Diagnosis(converged=True, steps=0)
        return Solution(vectors / self.damping, [diagnosis] * len(vectors))

    def self_influence(self, curvature: Curvature) -> Tensor:
        """‖∇L_i‖² / (λN)."""
        training_set = curvature.training_set
        norms = of_training_gradients(training_set, squared_norms)
        return norms / (self.damping * len(training_set))

    def expected_passes(self, num_examples: int) -> float:
        return 0.0
