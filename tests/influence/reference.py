"""Influence scores written out in full: autograd on the archive's own model, dense matrices, no short cut."""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import torch
from allennlp.data import Batch, Instance
from allennlp.data.fields import LabelField
from allennlp.interpret import InfluenceInterpreter
from allennlp.models.archival import load_archive
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from allennlp_influence.influence import InfluenceFunctions

DAMPING = 10.0  # of the order of the curvature, and above every negative eigenvalue


def exact(damping: float = DAMPING) -> Dict[str, Any]:
    """A solver that leaves no residual."""
    return {"type": "conjugate-gradient", "damping": damping, "tolerance": 1e-10}


def interpreter_of(archive: str, **options: Any) -> InfluenceFunctions:
    """An interpreter in double precision that solves exactly."""
    loaded = load_archive(archive)
    loaded.model.double()
    options = {"solver": exact(), **options}
    return InfluenceInterpreter.from_archive(
        loaded, interpreter_name="influence-functions", **options
    )


def queries_of(interpreter: InfluenceFunctions, inputs: Sequence[Any]) -> List[Instance]:
    """Unlabelled instances of what the reader's `text_to_instance` takes: a text, or several arguments."""
    reader = interpreter._test_dataset_reader
    return [reader.text_to_instance(*(x if isinstance(x, tuple) else (x,))) for x in inputs]


class Written:
    """An archive's model, in double precision, with the parameters that no pattern of `frozen` matches."""

    def __init__(
        self, archive: str, frozen: Sequence[str] = (), dtype: torch.dtype = torch.float64
    ) -> None:
        loaded = load_archive(archive)
        self.model = loaded.model.to(dtype).eval()
        self.theta = [
            parameter
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad and not any(re.search(pattern, name) for pattern in frozen)
        ]
        self.reader = loaded.validation_dataset_reader
        self.classes = self.model.vocab.get_token_to_index_vocabulary("labels")
        self.training = list(loaded.dataset_reader.read(loaded.config["train_data_path"]))
        self.gold = [self.classes[instance["label"].label] for instance in self.training]

    def queries(self, inputs: Sequence[Any]) -> List[Instance]:
        instances = [
            self.reader.text_to_instance(*(x if isinstance(x, tuple) else (x,))) for x in inputs
        ]
        for instance in instances:
            self.reader.apply_token_indexers(instance)
        return instances

    def logits(self, instances: Sequence[Instance]) -> Tensor:
        batch = Batch([without_label(instance) for instance in instances])
        batch.index_instances(self.model.vocab)
        return self.model(**batch.as_tensor_dict())["logits"]

    def losses(self, instances: Sequence[Instance], labels: Sequence[int]) -> Tensor:
        return torch.nn.functional.cross_entropy(
            self.logits(instances), torch.tensor(labels), reduction="none"
        )

    def gradients(self, instances: Sequence[Instance], labels: Sequence[int]) -> Tensor:
        """One example a row, and each in a batch of its own, `(len(instances), P)`."""
        rows = []
        for instance, label in zip(instances, labels):
            (loss,) = self.losses([instance], [label])
            parts = torch.autograd.grad(loss, self.theta, allow_unused=True)
            full = [torch.zeros_like(t) if p is None else p for t, p in zip(self.theta, parts)]
            rows.append(torch.cat([part.reshape(-1) for part in full]))
        return torch.stack(rows)

    def hessian(self) -> Tensor:
        """Of the mean training loss, `(P, P)`."""
        loss = self.losses(self.training, self.gold).mean()
        parts = torch.autograd.grad(loss, self.theta, create_graph=True, allow_unused=True)
        used = [t for t, part in zip(self.theta, parts) if part is not None]
        gradient = torch.cat([part.reshape(-1) for part in parts if part is not None])
        eye = torch.eye(len(gradient), dtype=gradient.dtype)
        columns = torch.autograd.grad(gradient, used, eye, is_grads_batched=True)
        depends = [torch.full((t.numel(),), p is not None) for t, p in zip(self.theta, parts)]
        places = torch.cat(depends).nonzero()[:, 0]
        full = torch.zeros(2 * [sum(map(len, depends))], dtype=gradient.dtype)
        full[places[:, None], places] = torch.cat([c.flatten(1) for c in columns], dim=1)
        return full


def without_label(instance: Instance) -> Instance:
    return Instance({n: f for n, f in instance.fields.items() if not isinstance(f, LabelField)})


class Reference(NamedTuple):
    """Gradients one example a row, and the Hessian of the mean training loss."""

    queries: Tensor  # (Q, P)
    training: Tensor  # (N, P)
    hessian: Tensor  # (P, P)
    query_losses: Tensor  # (Q,)
    training_losses: Tensor  # (N,)
    predicted: List[int]

    def scores(self, damping: float = DAMPING) -> Tensor:
        """∇L_qᵀ (H + λI)⁻¹ ∇L_i / N, `(Q, N)`."""
        system = self.hessian + damping * torch.eye(len(self.hessian), dtype=self.hessian.dtype)
        return self.queries @ torch.linalg.solve(system, self.training.T) / len(self.training)

    def dot_products(self, damping: float = DAMPING) -> Tensor:
        """∇L_qᵀ ∇L_i / (λ N), `(Q, N)`."""
        return self.queries @ self.training.T / damping / len(self.training)


def reference_of(
    archive: str,
    inputs: Sequence[Any],
    frozen: Sequence[str] = (),
    classes: Optional[Sequence[int]] = None,
    dtype: torch.dtype = torch.float64,
) -> Reference:
    """`classes` are the explained ones, by default the predicted ones."""
    written = Written(archive, frozen, dtype)
    queries = written.queries(inputs)
    with sdpa_kernel(SDPBackend.MATH):
        predicted = [int(written.logits([query])[0].argmax()) for query in queries]
        explained = predicted if classes is None else classes
        pairs = zip(written.training, written.gold)
        return Reference(
            written.gradients(queries, explained),
            written.gradients(written.training, written.gold),
            written.hessian(),
            torch.cat([written.losses([q], [c]) for q, c in zip(queries, explained)]).detach(),
            torch.cat([written.losses([x], [c]) for x, c in pairs]).detach(),
            predicted,
        )
