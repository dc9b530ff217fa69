"""
AllenNLP's own `simple-influence`: LiSSA for every query with minibatches padded to their longest text, all layers run
at every visit, and the gradients of all training examples kept in memory.

Those of N = 10,000 would be 148 GB, so it runs on fewer, and the rest is in proportion: a training gradient and the
product with it to the number of training examples, a LiSSA step to their number. How many steps are needed is said by
its documentation and by its code in two ways. `recursion_depth=0.25` is "of the training examples": 2,500 of 10,000,
the paper's number. What the code takes is a quarter of the minibatches, 312, after which 0.997³¹² = 39 % of the
starting vector is left in directions without curvature. The system is the paper's only with the former; both are given.
"""

import time
from typing import Any, Dict, Sequence

from allennlp.interpret.influence_interpreters import simple_influence
from torch.nn.attention import SDPBackend, sdpa_kernel

from subject import Subject, exactly, trained

DEPTH = 2500
BATCH_SIZE = 8


def measure(subject: Sequence[Any], run_examples: int, lissa_steps: int) -> Dict[str, Any]:
    """
    Seconds for all queries at N training examples, from a run with `run_examples` of them and `lissa_steps` steps for a
    query, after one that is not timed.
    """
    of = Subject(*subject)
    few = of._replace(num_examples=min(run_examples, of.num_examples), num_queries=1)
    start = time.perf_counter()
    archive = few.archive()
    names = set(trained(archive))
    frozen = [name for name, _ in archive.model.named_parameters() if name not in names]
    interpreter = few.interpreter(
        "simple-influence", params_to_freeze=exactly(frozen), recursion_depth=lissa_steps
    )
    loading = time.perf_counter() - start

    lissa = _Timed(simple_influence.get_inverse_hvp_lissa)
    simple_influence.get_inverse_hvp_lissa = lissa
    with sdpa_kernel(
        SDPBackend.MATH
    ):  # the one attention of today's PyTorch with a double backward
        start = time.perf_counter()
        number = len(interpreter.train_instances)
        gradient_seconds = (time.perf_counter() - start) / number

        instances = few.test_instances(archive)
        interpreter.interpret_instances(instances, k=min(10, number))
        lissa.seconds, start = 0.0, time.perf_counter()
        interpreter.interpret_instances(instances, k=min(10, number))
        query_seconds = time.perf_counter() - start
    step_seconds = lissa.seconds / lissa_steps
    # besides LiSSA: the query's gradient, which is as much work as a training gradient, and the products
    product_seconds = max(0.0, query_seconds - lissa.seconds - gradient_seconds) / number

    def total(num_queries: int, steps: int) -> float:
        each = gradient_seconds + steps * step_seconds + of.num_examples * product_seconds
        return loading + of.num_examples * gradient_seconds + num_queries * each

    size = sum(p.numel() * p.element_size() for p in interpreter.used_params)
    steps_by_code = max(1, int(-(-of.num_examples // BATCH_SIZE) * 0.25))
    return {
        "seconds": total(of.num_queries, DEPTH),
        "seconds_of_one": total(1, DEPTH),
        "seconds_at_default_depth": total(of.num_queries, steps_by_code),
        "seconds_of_one_at_default_depth": total(1, steps_by_code),
        "default_depth": steps_by_code,
        "how": f"scaled from {number} training examples and {lissa_steps} LiSSA steps",
        "scaled_memory_gb": of.num_examples * size / 1e9,
        "stages": {
            "loading": loading,
            "training gradient": gradient_seconds,
            "LiSSA step": step_seconds,
            "product with a training gradient": product_seconds,
        },
    }


class _Timed:
    """A function and the seconds spent in it."""

    def __init__(self, function) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *args, **kwargs):
        start = time.perf_counter()
        try:
            return self.function(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - start
