"""A classifier small enough for its Hessian to be written down, in float64."""

from typing import List, NamedTuple, Sequence

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from allennlp_influence.engine import Batch, Objective, TrainingSet

CLASSES = 3


class TinyClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=30,
            hidden_size=8,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=12,
            max_position_embeddings=16,
            initializer_range=0.4,
            attn_implementation="sdpa",
        )
        self.bert = BertModel(config)
        self.head = nn.Linear(8, CLASSES)
        self.unused = nn.Linear(8, 8)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask)
        return {"logits": self.head(hidden.pooler_output)}


class Texts(NamedTuple):
    ids: List[Tensor]
    labels: List[int]

    def collate(self, positions: Sequence[int]) -> Batch:
        ids = [self.ids[i] for i in positions]
        padded = nn.utils.rnn.pad_sequence(ids, batch_first=True)
        mask = nn.utils.rnn.pad_sequence([torch.ones_like(i) for i in ids], batch_first=True)
        labels = torch.tensor([self.labels[i] for i in positions])
        return Batch({"input_ids": padded, "attention_mask": mask}, labels)


def make_texts(count: int, seed: int) -> Texts:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 10, (count,), generator=generator).tolist()
    ids = [torch.randint(1, 30, (length,), generator=generator) for length in lengths]
    return Texts(ids, torch.randint(0, CLASSES, (count,), generator=generator).tolist())


def trained_names(model: nn.Module, frozen: Sequence[str] = ()) -> List[str]:
    frozen = tuple(frozen) or ("bert.embeddings", "bert.encoder.layer.0.")
    return [name for name, _ in model.named_parameters() if not name.startswith(frozen)]


@pytest.fixture(scope="session")
def model() -> nn.Module:
    return TinyClassifier().double()


@pytest.fixture(scope="session")
def texts() -> Texts:
    return make_texts(count=14, seed=1)


@pytest.fixture(scope="session")
def objective(model, texts) -> Objective:
    return Objective(model, trained_names(model), texts.collate(range(4)))


@pytest.fixture(scope="session")
def training_set(objective, texts) -> TrainingSet:
    return TrainingSet(objective, [len(i) for i in texts.ids], texts.collate, token_budget=30)


@pytest.fixture(scope="session")
def queries(objective) -> Tensor:
    """Gradients of three texts that are not in the training set, (3, P)."""
    texts = make_texts(count=3, seed=2)
    return torch.stack(
        [objective.gradient(objective.prepare(texts.collate([i]))) for i in range(3)]
    )


@pytest.fixture(scope="session")
def whole(model, texts) -> Batch:
    """All training texts as one padded batch, for the model itself."""
    return texts.collate(range(len(texts.ids)))


@pytest.fixture(scope="session")
def hessian(model, objective, whole) -> Tensor:
    """
    ∇² of the mean training loss, by torch.func on the untouched model, (P, P).

    `torch.func.hessian` itself is jacfwd(jacrev), which on torch 2.11 gives a matrix for this model that is not even
    symmetric (off by 0.02; central differences side with jacfwd(grad)).
    """

    def loss(theta: Tensor) -> Tensor:
        output = torch.func.functional_call(
            model, objective.space.unflatten(theta), kwargs=whole.inputs
        )
        return nn.functional.cross_entropy(output["logits"], whole.labels)

    model.eval()
    with objective.differentiable_twice():
        return torch.func.jacfwd(torch.func.grad(loss))(
            objective.space.flatten(objective.parameters)
        ).detach()


@pytest.fixture(scope="session")
def gauss_newton(model, objective, whole) -> Tensor:
    """(1/N) Σ J_iᵀ (diag(p_i) − p_i p_iᵀ) J_i with the Jacobian written out, (P, P)."""

    def logits(theta: Tensor) -> Tensor:
        return torch.func.functional_call(
            model, objective.space.unflatten(theta), kwargs=whole.inputs
        )["logits"]

    model.eval()
    theta = objective.space.flatten(objective.parameters)
    with objective.differentiable_twice():
        jacobian = torch.func.jacrev(logits)(theta).detach()  # (N, C, P)
        p = logits(theta).softmax(-1).detach()
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("ncp,ncd,ndq->pq", jacobian, inner, jacobian) / len(p)
