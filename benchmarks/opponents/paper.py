"""
The paper's algorithm as its code runs it (Han, Wallace & Tsvetkov 2020; github.com/xhan77/influence-function-analysis):

- every text padded to 128 tokens; every layer run at every visit, the frozen ones too; dropout on;
- for every query LiSSA with 2,500 steps of 8 training examples each, by double backward;
- for every query the gradient of every training example again, one by one, and its product with the result.

Written in PyTorch on the AllenNLP model. Queries are independent of each other and so are the steps: some of both are
timed and the rest is in proportion.
"""

import itertools
import random
import time
from typing import Any, Dict, Iterable, Iterator, List, Sequence

import torch
from allennlp.data import Batch, Instance
from allennlp.data.fields import TextField
from allennlp.models import Model
from torch import Tensor
from torch.autograd import grad
from torch.nn.attention import SDPBackend, sdpa_kernel

from subject import Subject, trained

LENGTH = 128
DEPTH = 2500
BATCH_SIZE = 8
DAMPING = 3e-3
SCALE = 1e4
_WARM_UP = 2


def measure(subject: Sequence[Any], lissa_steps: int, train_gradients: int) -> Dict[str, Any]:
    """
    Seconds for all queries, from `lissa_steps` steps and `train_gradients` training examples, after two of each that
    are not timed.
    """
    of = Subject(*subject)
    archive = of.archive()
    model = archive.model
    instances = of.training_instances(archive)
    query = of.test_instances(archive)[0]
    parameters = dict(model.named_parameters())
    theta = [parameters[name] for name in trained(archive)]
    used = grad(model(**padded(model, instances[:1]))["loss"], theta, allow_unused=True)
    theta = [p for p, own in zip(theta, used) if own is not None]

    with sdpa_kernel(
        SDPBackend.MATH
    ):  # the one attention of today's PyTorch with a double backward
        start = time.perf_counter()
        v = query_gradient(model, query, theta)
        query_seconds = time.perf_counter() - start

        batches = [
            padded(model, batch)
            for batch in itertools.islice(minibatches(instances), _WARM_UP + lissa_steps)
        ]
        steps = lissa(model, batches, theta, v)
        estimate = [next(steps) for _ in range(_WARM_UP)][-1]
        start = time.perf_counter()
        for estimate in itertools.islice(steps, lissa_steps):
            pass
        step_seconds = (time.perf_counter() - start) / lissa_steps
        ihvp = flat([c / SCALE for c in estimate])

        some = itertools.islice(itertools.cycle(instances), _WARM_UP + train_gradients)
        some = [padded(model, [instance]) for instance in some]
        scores = influences(model, some, theta, ihvp)
        list(itertools.islice(scores, _WARM_UP))
        start = time.perf_counter()
        list(scores)
        gradient_seconds = (time.perf_counter() - start) / train_gradients

    each = query_seconds + DEPTH * step_seconds + of.num_examples * gradient_seconds
    return {
        "seconds": of.num_queries * each,
        "seconds_of_one": each,
        "how": f"scaled from {lissa_steps} LiSSA steps and {train_gradients} training gradients",
        "stages": {
            "LiSSA step": step_seconds,
            "training gradient": gradient_seconds,
            "query gradient": query_seconds,
        },
    }


def query_gradient(model: Model, query: Instance, theta: List[Tensor]) -> List[Tensor]:
    """∇L at the predicted label, without dropout."""
    model.eval()
    logits = model(**padded(model, [query]))["logits"]
    loss = torch.nn.functional.cross_entropy(logits, logits.argmax(-1))
    return list(grad(loss, theta))


def lissa(
    model: Model, batches: Iterable[Dict[str, Any]], theta: List[Tensor], v: List[Tensor]
) -> Iterator[List[Tensor]]:
    """c ← v + (1 − damping) c − H c / scale, H from the next minibatch."""
    model.train()
    current = v
    for batch in batches:
        gradients = grad(model(**batch)["loss"], theta, create_graph=True)
        products = grad(gradients, theta, current)
        current = [
            a + (1 - DAMPING) * c - product / SCALE for a, c, product in zip(v, current, products)
        ]
        yield current


def influences(
    model: Model, singles: Iterable[Dict[str, Any]], theta: List[Tensor], ihvp: Tensor
) -> Iterator[float]:
    """⟨∇L_i, ihvp⟩, one training example after the other."""
    model.train()
    for single in singles:
        gradients = grad(model(**single)["loss"], theta)
        yield torch.dot(ihvp, flat(gradients)).item()


def minibatches(instances: List[Instance]) -> Iterator[List[Instance]]:
    """Shuffled once an epoch, without what is left over."""
    size = min(BATCH_SIZE, len(instances))
    shuffler = random.Random(2019)
    while True:
        order = shuffler.sample(instances, len(instances))
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]


def padded(model: Model, instances: List[Instance]) -> Dict[str, Any]:
    """The model's arguments, every text with `LENGTH` tokens."""
    batch = Batch(instances)
    batch.index_instances(model.vocab)
    lengths = batch.get_padding_lengths()
    texts = [name for name, field in instances[0].fields.items() if isinstance(field, TextField)]
    for name in texts:
        lengths[name] = dict.fromkeys(lengths[name], LENGTH)
    return batch.as_tensor_dict(lengths)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
