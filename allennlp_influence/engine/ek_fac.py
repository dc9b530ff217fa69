"""Kronecker factors of each layer's curvature, in their eigenbasis."""

from abc import ABC, abstractmethod
from typing import Callable, Dict, Iterator, List, Optional, Tuple

import torch
from allennlp.common.checks import ConfigurationError
from torch import Tensor, nn

from allennlp_influence.engine import ranks
from allennlp_influence.engine.curvature import Curvature
from allennlp_influence.engine.gradients import EmbeddingRows, Gradients, TokenSums
from allennlp_influence.engine.inverse_curvature import (
    Diagnosis,
    InverseCurvature,
    NotSolvedError,
    Solution,
)
from allennlp_influence.engine.objective import Objective
from allennlp_influence.engine.per_example import GradientsByName
from allennlp_influence.engine.progress import progress
from allennlp_influence.engine.scoring import of_training_gradients
from allennlp_influence.engine.store import Tensors

_LARGEST_EXACT_BLOCK = 4096
_MOST_FLOATS = 2**25  # of a temporary: 128 MB in float32

# By name what the examples of a batch add to a mean.
Sums = Iterator[Tuple[str, Tensor]]


@InverseCurvature.register("ek-fac")
class EkFac(InverseCurvature):
    """
    Takes the Gauss-Newton C for block-diagonal over the layers, and the block of a linear layer for diagonal in the
    eigenbasis of its Kronecker factors (EK-FAC: George et al. 2018; for influence functions Grosse et al. 2023):

        A = (1/n) Σ_it a_it a_itᵀ = Q_A diag(·) Q_Aᵀ,   S = (1/n) Σ_irt δ_irt δ_irtᵀ = Q_S diag(·) Q_Sᵀ
        Λ = (1/n) Σ_ir (Q_Sᵀ B_ir Q_A)²,   B_ir = Σ_t δ_irt a_itᵀ,   the square taken of every entry
        x = Q_S [(Q_Sᵀ V Q_A) / (Λ + λ)] Q_Aᵀ

    Here a_it is what enters the layer at token t of example i, with a 1 appended where the bias is trained too, so
    that the bias is a column of the weight. B_ir is the layer's part of b_ir, the rows of a square root of C (see
    `PerExampleGradients.of_curvature`): the expectation over the labels is exact, none are sampled. Λ is the
    diagonal of the layer's true block in the basis Q_S ⊗ Q_A, so every entry of it is a Rayleigh quotient of C, and
    no diagonal in this basis is nearer to C. Tokens without a gradient (padding, and positions that the classifier
    does not read) are left out of A. The scale of A and S is of no matter: only their eigenvectors are used.

    Tokens are rotated before the outer product is taken: (δ_t Q_S)ᵀ (a_t Q_A), for T (in² + out²) operations an
    example in the place of in·out·(in + out).

    The other parameters have blocks of their own, by module:

    - weight and bias of a LayerNorm together, and a bias whose weight is frozen: their exact block, or its diagonal
      if it is larger than 4,096;
    - the weight of an embedding: the diagonal of its block.

    What is left out is all curvature between layers, within a linear layer what is off the diagonal of its eigenbasis,
    and of an embedding what is off its diagonal. That shows where λ is far below the largest eigenvalues of C: there
    `gauss-newton` is the solver that leaves out nothing, and this one a preconditioner of conjugate gradient.

    The factors take two passes over the data and an eigendecomposition (in float64) of every A and S. They depend on
    neither λ nor the queries, and are kept.

    Registered as an `InverseCurvature` with name "ek-fac".

    # Parameters

    damping, num_examples, seed
        See `InverseCurvature`. The curvature is Gauss-Newton: the Hessian has no such factors.
    """

    vectors_per_query = 2  # v and x; a layer's part of them is rotated at a time
    has_self_influence = True

    def __init__(
        self, damping: float = 30.0, num_examples: Optional[int] = None, seed: int = 0
    ) -> None:
        super().__init__(damping, "gauss-newton", num_examples, seed)

    def solve(self, curvature: Curvature, vectors: Tensor) -> Solution:
        """
        `lambda_max` and `lambda_min` of the diagnosis are the extremes of Λ; a residual would take a product with
        the curvature and is not measured.

        # Raises

        `ConfigurationError` if the curvature is not Gauss-Newton, or the model's gradients can't be read off its
        modules; `NotSolvedError` if they are not finite.
        """
        factors = self._factors(curvature)
        inverse = self._damped(factors)
        solved = torch.empty_like(vectors)
        unflatten = curvature.objective.space.unflatten
        for block in _blocks(curvature.objective):
            block.solve(inverse, unflatten(vectors), unflatten(solved))
        eigenvalues = [tensor for name, tensor in factors.items() if _is_lambda(name)]
        diagnosis = Diagnosis(
            converged=True,
            steps=0,
            lambda_max=max(float(tensor.max()) for tensor in eigenvalues),
            lambda_min=min(float(tensor.min()) for tensor in eigenvalues),
        )
        return Solution(solved, [diagnosis] * len(vectors))

    def self_influence(self, curvature: Curvature) -> Tensor:
        """Σ (Q_Sᵀ ∇L_i Q_A)² / (Λ + λ) / N over the layers, in one pass; see `InverseCurvature`."""
        inverse = self._damped(self._factors(curvature))
        blocks = _blocks(curvature.objective)

        def measure(gradients: GradientsByName) -> Tensor:
            return torch.stack([b.quadratic_forms(inverse, gradients) for b in blocks]).sum(0)

        training_set = curvature.training_set
        return of_training_gradients(training_set, measure) / len(training_set)

    def expected_preparation_seconds(self, curvature: Curvature) -> float:
        """
        From the first pass on one batch of middling length, measured; the second takes about half as long again (4.6
        ms an example against 3.1 of a MiniLM's two layers on one core). The eigendecompositions are left out.
        """
        self._check(curvature)
        batch, blocks = curvature.batches[len(curvature.batches) // 2], _blocks(curvature.objective)
        start = curvature.objective.clock()
        for _, rows in curvature.training_set.gradients.of_curvature(batch):
            for block in blocks:
                list(block.covariances(rows))
        share = len(batch.labels) / len(curvature.positions)
        return 2.5 * (curvature.objective.clock() - start) / share

    def expected_passes(self, num_examples: int) -> float:
        return 0.0  # once there are factors

    def _factors(self, curvature: Curvature) -> Tensors:
        """Q_A, Q_S (Q for an exact block) and Λ of every block, on the objective's device."""
        self._check(curvature)
        kept = curvature.kept("ek-fac", lambda: _compute(curvature))
        return {name: tensor.to(curvature.objective.device) for name, tensor in kept.items()}

    def _check(self, curvature: Curvature) -> None:
        if curvature.kind != self.kind:
            raise ConfigurationError(
                f"ek-fac has no factors of a {curvature.kind}: take the curvature gauss-newton, or the solver "
                "conjugate-gradient"
            )
        if not curvature.training_set.gradients.by_module:
            raise ConfigurationError(
                "ek-fac works layer by layer, and this model's gradients can't be read off its modules: it trains one "
                "that is no linear layer, LayerNorm or embedding, uses a weight otherwise than by calling its module, "
                "or folds long texts; choose the solver conjugate-gradient or gauss-newton, which take any model"
            )

    def _damped(self, factors: Tensors) -> Tensors:
        """The same with 1 / (Λ + λ), computed in float64, in the place of Λ."""
        return {
            name: (
                (tensor.double() + self.damping).reciprocal_().to(tensor.dtype)
                if _is_lambda(name)
                else tensor
            )
            for name, tensor in factors.items()
        }


def _compute(curvature: Curvature) -> Tensors:
    blocks = _blocks(curvature.objective)
    dtype = _dtype(curvature.objective)
    means = _means(
        curvature, "covariances", lambda rows: (s for b in blocks for s in b.covariances(rows))
    )
    factors: Tensors = {}
    for block in progress(blocks, "ek-fac: eigenbases"):
        for name, tensor in block.eigenbases(means).items():
            factors[name] = ranks.of_the_first(tensor.to(dtype))
    eigenvalues = _means(
        curvature, "eigenvalues", lambda rows: (s for b in blocks for s in b.squares(factors, rows))
    )
    return {**factors, **{name: tensor.to(dtype) for name, tensor in eigenvalues.items()}}


def _means(
    curvature: Curvature, what: str, sums_of: Callable[[List[GradientsByName]], Sums]
) -> Tensors:
    """(1/n) Σ_i, accumulated in float64, of what `sums_of` gives for the rows b_ir of the examples of a batch."""
    totals: Tensors = {}
    batches = ranks.share(curvature.batches)
    for batch in progress(batches, f"ek-fac: {what}"):
        for _, rows in curvature.training_set.gradients.of_curvature(batch):
            for name, part in sums_of(rows):
                if name in totals:
                    totals[name].add_(part)
                else:
                    totals[name] = part.double()
    shapes = ranks.said_by_the_first({name: total.shape for name, total in totals.items()})
    for name, shape in shapes.items():
        if name not in totals:  # there are more processes than batches
            totals[name] = torch.zeros(shape, dtype=torch.float64, device=curvature.objective.device)
        total = ranks.add_up(totals[name])
        if not torch.isfinite(total).all():
            raise NotSolvedError(
                f"ek-fac: {name} is not finite: the model's logits or their derivatives overflow on some training "
                "example"
            )
        total.div_(len(curvature.positions))
    return totals


class _Block(ABC):
    """
    The parameters of one layer, whose curvature is inverted by itself.

    # Parameters

    layer : `str`, required
        By which its factors are named.
    """

    def __init__(self, layer: str) -> None:
        self.layer = layer

    @abstractmethod
    def covariances(self, rows: List[GradientsByName]) -> Sums:
        """What the first pass takes the mean of."""

    @abstractmethod
    def eigenbases(self, means: Tensors) -> Tensors:
        """The factors that follow from the first pass, whose `means` of this block are taken away."""

    def squares(self, factors: Tensors, rows: List[GradientsByName]) -> Sums:
        """What the second pass takes the mean of, if there is need of one."""
        yield from ()

    @abstractmethod
    def solve(self, inverse: Tensors, v: Tensors, x: Tensors) -> None:
        """x = (C + λI)⁻¹ v of this block, by parameter `(num_queries, *shape)`."""

    @abstractmethod
    def quadratic_forms(self, inverse: Tensors, gradients: GradientsByName) -> Tensor:
        """∇_iᵀ (C + λI)⁻¹ ∇_i of this block, `(batch_size,)`."""

    def _name(self, factor: str) -> str:
        return f"{self.layer}.{factor}".lstrip(".")


class _Kronecker(_Block):
    """A linear layer, its bias being a column of the weight if that is trained too."""

    def __init__(self, layer: str, weight: str, bias: Optional[str]) -> None:
        super().__init__(layer)
        self.weight, self.bias = weight, bias

    def covariances(self, rows: List[GradientsByName]) -> Sums:
        deltas = [gradients[self.weight].delta for gradients in rows]
        used = torch.stack([(delta != 0).any(-1) for delta in deltas]).any(0)
        a = self._inputs(rows[0])[used]
        yield self._name("A"), a.T @ a
        delta = torch.cat([delta[used] for delta in deltas])
        yield self._name("S"), delta.T @ delta

    def eigenbases(self, means: Tensors) -> Tensors:
        return {
            self._name(f"Q_{factor}"): torch.linalg.eigh(means.pop(self._name(factor)))[1]
            for factor in "AS"
        }

    def squares(self, factors: Tensors, rows: List[GradientsByName]) -> Sums:
        a = self._inputs(rows[0]) @ factors[self._name("Q_A")]
        total = a.new_zeros(rows[0][self.weight].shape[0], a.shape[-1])
        for gradients in rows:
            delta = gradients[self.weight].delta @ factors[self._name("Q_S")]
            if a.shape[1] == 1:
                total.addmm_(delta[:, 0].square_().T, a[:, 0].square())
            else:
                rotated = TokenSums(a, delta)
                for part in rotated.parts():
                    total[part].view(-1).add_(rotated.written_out(part).square_().sum(0))
        yield self._name("Lambda"), total

    def solve(self, inverse: Tensors, v: Tensors, x: Tensors) -> None:
        q_a, q_s, scale = (inverse[self._name(factor)] for factor in ("Q_A", "Q_S", "Lambda"))
        size = max(1, _MOST_FLOATS // scale.numel())
        for start in range(0, len(v[self.weight]), size):
            some = slice(start, start + size)
            joined = v[self.weight][some]
            if self.bias is not None:
                joined = torch.cat([joined, v[self.bias][some].unsqueeze(-1)], dim=-1)
            joined = q_s @ (q_s.T @ joined @ q_a).mul_(scale) @ q_a.T
            if self.bias is not None:
                x[self.bias][some] = joined[..., -1]
                joined = joined[..., :-1]
            x[self.weight][some] = joined

    def quadratic_forms(self, inverse: Tensors, gradients: GradientsByName) -> Tensor:
        a = self._inputs(gradients) @ inverse[self._name("Q_A")]
        delta = gradients[self.weight].delta @ inverse[self._name("Q_S")]
        scale = inverse[self._name("Lambda")]
        if a.shape[1] == 1:
            return ((delta[:, 0].square_() @ scale) * a[:, 0].square_()).sum(1)
        rotated = TokenSums(a, delta)
        return torch.stack(
            [rotated.written_out(part).square_() @ scale[part].flatten() for part in rotated.parts()]
        ).sum(0)

    def _inputs(self, gradients: GradientsByName) -> Tensor:
        """a, or [a; 1], `(batch_size, tokens, in)`."""
        a = gradients[self.weight].a
        return a if self.bias is None else nn.functional.pad(a, (0, 1), value=1.0)


class _Exact(_Block):
    """Parameters whose gradients are written out, few enough for their block to be written out too."""

    def __init__(self, layer: str, parameters: List[str]) -> None:
        super().__init__(layer)
        self.parameters = parameters

    def covariances(self, rows: List[GradientsByName]) -> Sums:
        vectors = torch.cat([self._joined(gradients) for gradients in rows])
        yield self._name("C"), vectors.T @ vectors

    def eigenbases(self, means: Tensors) -> Tensors:
        eigenvalues, basis = torch.linalg.eigh(means.pop(self._name("C")))
        return {self._name("Q"): basis, self._name("Lambda"): eigenvalues.clamp_min_(0)}

    def solve(self, inverse: Tensors, v: Tensors, x: Tensors) -> None:
        basis, scale = inverse[self._name("Q")], inverse[self._name("Lambda")]
        flat = torch.cat([v[name].flatten(1) for name in self.parameters], dim=1)
        solved = (flat @ basis).mul_(scale) @ basis.T
        parts = solved.split([v[name][0].numel() for name in self.parameters], dim=1)
        for name, part in zip(self.parameters, parts):
            x[name].copy_(part.view_as(x[name]))

    def quadratic_forms(self, inverse: Tensors, gradients: GradientsByName) -> Tensor:
        rotated = self._joined(gradients) @ inverse[self._name("Q")]
        return rotated.square_() @ inverse[self._name("Lambda")]

    def _joined(self, gradients: GradientsByName) -> Tensor:
        return torch.cat([gradients[name].values.flatten(1) for name in self.parameters], dim=1)


class _Diagonal(_Block):
    """A parameter of whose block only the diagonal is taken; its factor is named by its own name."""

    def __init__(self, parameter: str, shape: torch.Size) -> None:
        super().__init__(parameter)
        self.parameter, self.shape = parameter, shape

    def covariances(self, rows: List[GradientsByName]) -> Sums:
        for gradients in rows:
            own = gradients[self.parameter]
            squares = _squares(own)
            if isinstance(own, EmbeddingRows):
                total = squares.new_zeros(self.shape)
                total.index_add_(0, own.ids.flatten(), squares.flatten(0, 1))
            else:
                total = squares.sum(0)
            yield self._name("Lambda"), total

    def eigenbases(self, means: Tensors) -> Tensors:
        return {self._name("Lambda"): means.pop(self._name("Lambda")).clamp_min_(0)}

    def solve(self, inverse: Tensors, v: Tensors, x: Tensors) -> None:
        torch.mul(v[self.parameter], inverse[self._name("Lambda")], out=x[self.parameter])

    def quadratic_forms(self, inverse: Tensors, gradients: GradientsByName) -> Tensor:
        own, scale = gradients[self.parameter], inverse[self._name("Lambda")]
        if isinstance(own, EmbeddingRows):
            scale = scale[own.ids]
        return (_squares(own) * scale).flatten(1).sum(1)


def _squares(gradients: Gradients) -> Tensor:
    """
    The squared entries of every example's gradient, `(batch_size, *shape)`; of an embedding's, `(batch_size, tokens,
    dim)`, shares of them that add up to the squares over the tokens of the same id: δ_t (Σ_{s same as t} δ_s).
    """
    if isinstance(gradients, EmbeddingRows):
        same = gradients.ids[:, :, None] == gradients.ids[:, None, :]
        return (same.to(gradients.delta) @ gradients.delta).mul_(gradients.delta)
    return gradients.values.square()


def _blocks(objective: Objective) -> List[_Block]:
    """The trained parameters by layer."""
    layers: Dict[str, List[str]] = {}
    for name in objective.parameters:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    blocks: List[_Block] = []
    shapes = objective.space.shapes
    for layer, names in layers.items():
        module = objective.model.get_submodule(layer)
        weight, bias = (f"{layer}.{own}".lstrip(".") for own in ("weight", "bias"))
        size = sum(shapes[name].numel() for name in names)
        if isinstance(module, nn.Linear) and weight in names:
            blocks.append(_Kronecker(layer, weight, bias if bias in names else None))
        elif isinstance(module, nn.Embedding) or size > _LARGEST_EXACT_BLOCK:
            blocks += [_Diagonal(name, shapes[name]) for name in names]
        else:
            blocks.append(_Exact(layer, names))
    return blocks


def _is_lambda(name: str) -> bool:
    return name.rpartition(".")[2] == "Lambda"


def _dtype(objective: Objective) -> torch.dtype:
    return next(iter(objective.parameters.values())).dtype
