"""How near the scoring pass is to what the machine's matrix products reach."""

import time
from typing import Any, Dict, Sequence

import torch
from torch import nn

from allennlp_influence.engine import influence_scores
from allennlp_influence.engine.objective import Objective
from allennlp_influence.engine.training_set import TrainingSet
from subject import Subject

_SIDE = 4096
_REPEATS = 3


def measure(subject: Sequence[Any]) -> Dict[str, Any]:
    """
    Rate of the scoring pass (all products of N training gradients with Q solved queries) and of a float32 product of
    two square matrices of side 4,096, the best of three before and three after it, in the same process.
    """
    of = Subject(*subject)
    interpreter = of.interpreter("influence-functions")
    training_set, objective = interpreter.training_set, interpreter.objective
    instances = of.test_instances(of.archive())
    queries = [interpreter.prepared_query(instance).batch for instance in instances]
    vectors = torch.stack([objective.gradient(query) for query in queries])
    training_set.gradients  # what is found out once is no part of the pass
    product_seconds = [_matrix_product() for _ in range(_REPEATS)]
    start = time.perf_counter()
    influence_scores(training_set, vectors)
    seconds = time.perf_counter() - start
    product_seconds += [_matrix_product() for _ in range(_REPEATS)]
    flops = operations(training_set, len(vectors))
    rate, machine = flops / seconds, 2 * _SIDE**3 / min(product_seconds)
    return {
        "seconds": seconds,
        "how": "measured; operations by formula",
        "stages": {},
        "gflop": flops / 1e9,
        "gflops": rate / 1e9,
        "machine_gflops": machine / 1e9,
        "fraction": rate / machine,
    }


def _matrix_product() -> float:
    a, b = torch.randn(2, _SIDE, _SIDE)
    out = torch.empty(_SIDE, _SIDE)
    torch.mm(a, b, out=out)  # fresh memory is no part of the rate
    start = time.perf_counter()
    torch.mm(a, b, out=out)
    return time.perf_counter() - start


def operations(training_set: TrainingSet, num_queries: int) -> int:
    """
    Floating-point operations of the scoring pass, a multiplication and an addition being two, that the calculation
    needs. Counted, for every example by itself with t tokens, of which padding is none:

    - a linear layer (in, out) on t tokens, or on 1 where only the first position is computed:
      2 t·in·out forward, as much backward to its input (unless that is an output of the frozen layers), and for the
      products of its weight's gradient with Q queries the cheaper of
          2 t·in·out + 2 in·out·Q   written out, then multiplied,
          2 t·in·out·Q              token by token;
    - the attention products QKᵀ and AV: 2 · 2 t·s·dim forward for s positions that are computed, twice as much backward.

    Not counted: padding, biases, LayerNorms, softmax, activation functions, copies.
    """
    objective = training_set.objective
    layers = linear_layers(objective, training_set)
    total = 0
    for length in training_set.lengths:
        for in_features, out_features, first_only, from_frozen in layers:
            tokens, size = 1 if first_only else length, in_features * out_features
            total += 2 * tokens * size * (1 if from_frozen else 2)
            written_out = 2 * tokens * size + 2 * size * num_queries
            total += min(written_out, 2 * tokens * size * num_queries)
        for dim, first_only in attentions(objective):
            total += 3 * 2 * 2 * length * (1 if first_only else length) * dim
    return total


def linear_layers(objective: Objective, training_set: TrainingSet):
    """
    (in, out, whether it sees one position only, whether its input is an output of the frozen layers) of every linear
    layer that is trained, seen on a batch.
    """
    batch = max((batch for _, batch in training_set.buckets), key=lambda b: len(b.labels))
    frozen = [tensor.data_ptr() for tensor in batch.constants.values()]
    found = []

    def look(module: nn.Linear, inputs: Any, output: Any) -> None:
        (a,) = inputs
        first_only = a.numel() // a.shape[-1] == len(batch.labels)
        from_frozen = a.data_ptr() in frozen
        found.append((module.in_features, module.out_features, first_only, from_frozen))

    modules = [
        module
        for name, module in objective.model.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.weight" in objective.parameters
    ]
    handles = [module.register_forward_hook(look) for module in modules]
    with torch.no_grad():
        objective.logits(objective.parameters, batch)
    for handle in handles:
        handle.remove()
    return found


def attentions(objective: Objective):
    """(dim, whether it computes one position only) of the attention of every trained layer."""
    layers = list(objective.model.get_submodule(objective.prefix.layers))
    trained = layers[objective.prefix.num_frozen :]
    dim = objective.model.get_submodule(objective.prefix.encoder).config.hidden_size
    return [(dim, objective.first_position_only and layer is trained[-1]) for layer in trained]
