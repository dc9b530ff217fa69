"""This package, end to end, as a user of AllenNLP calls it."""

import time
from typing import Any, Dict, Sequence

import numpy

from subject import Subject


def measure(subject: Sequence[Any], solver: Dict[str, Any], scores_file: str) -> Dict[str, Any]:
    """
    Seconds from the archive to the explanations of all queries: loading, reading, frozen layers, solver, scores and the
    self-check against gradient dot products. Nothing is kept from an earlier run. The scores `(queries, N)` go into
    `scores_file`.
    """
    of = Subject(*subject)
    start = time.perf_counter()
    interpreter = of.interpreter("influence-functions", solver=solver)
    loaded = time.perf_counter()
    explanations = interpreter.interpret_from_file(of.inputs, k=10)
    end = time.perf_counter()
    numpy.save(scores_file, numpy.stack([e.scores for e in explanations]))
    stages = {"loading and reading": loaded - start, **interpreter.seconds}
    stages["the rest"] = end - start - sum(stages.values())
    diagnoses = [e.diagnosis for e in explanations]
    return {
        "seconds": end - start,
        "how": "measured",
        "stages": stages,
        "damping": interpreter.solver.damping,
        "trained_parameters": interpreter.objective.space.size,
        "residuals": [d.residual for d in diagnoses],
        "steps": max(d.steps for d in diagnoses),
        "lambda_max": max((d.lambda_max for d in diagnoses if d.lambda_max), default=None),
    }
