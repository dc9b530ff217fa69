"""How the scores of a result directory came about."""

import platform
import resource
from importlib.metadata import version
from typing import Sequence, Tuple

import torch
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict
from allennlp.data import Instance
from allennlp.models import Model

import allennlp_influence
from allennlp_influence.data.example import Example
from allennlp_influence.influence import InfluenceFunctions
from allennlp_influence.influence.reading import one_line
from allennlp_influence.influence.results import ResultWriter
from allennlp_influence.saliency import token_saliency


def provenance_of(
    interpreter: InfluenceFunctions,
    queries: Sequence[Tuple[Instance, Example]],
    writer: ResultWriter,
    total: float,
    saliency: float,
) -> JsonDict:
    """What provenance.json says of how the scores came about; `total` and `saliency` are seconds."""
    objective, curvature = interpreter.objective, interpreter.curvature
    checks = interpreter.self_checks
    lines = writer.lines
    diagnoses = [line["diagnosis"] for line in lines]
    highest = [d["lambda_max"] for d in diagnoses if d["lambda_max"] is not None]
    lowest = [d["lambda_min"] for d in diagnoses if d["lambda_min"] is not None]
    stages = {**interpreter.seconds, "saliency": saliency}
    stages["reading, loading and the rest"] = total - sum(stages.values())
    warnings = list(objective.notes)
    unexplained = [i for i, line in enumerate(lines) if line["saliency"] is None]
    if unexplained:
        reason = _why_no_saliency(interpreter.model, queries[unexplained[0]][0])
        warnings.append(
            f"no saliency of words for {len(unexplained)} of {len(lines)} inputs: {reason}"
        )
    return {
        "versions": {
            "python": platform.python_version(),
            "allennlp-influence": allennlp_influence.__version__,
            **{name: version(name) for name in ("allennlp", "torch", "transformers", "numpy")},
        },
        "seed": interpreter.solver.seed,
        "solver": {k: v for k, v in interpreter.solver_config.items() if v is not None},
        "damping": interpreter.solver.damping,
        "normalisation": interpreter.normalisation,
        "checkpoints": [weights.path for weights in interpreter.weights],
        "curvature": {
            "kind": curvature.kind,
            "examples": len(curvature.positions),
            "lambda_max": max(highest, default=None),
            "lambda_min": min(lowest, default=None),
        },
        "self_checks": {
            **checks._asdict(),
            "rank_agreement_with_identity": interpreter.agreement_with_identity,
            "rank_agreement_with_half_of_the_curvature": interpreter.agreement_with_half,
            "rank_agreement_with_float32": interpreter.agreement_with_float32,
        },
        "no_self_influence": interpreter.no_self_influence,
        "trained_parameters": {
            "count": objective.space.size,
            "tensors": len(objective.parameters),
            "names": list(objective.parameters),
            "frozen_by": interpreter.trained.patterns,
        },
        "device": str(interpreter.device),
        "threads": torch.get_num_threads(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "stages": [{"name": name, "seconds": seconds} for name, seconds in stages.items()],
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "resumed_after": writer.resumed_after,
        "warnings": warnings,
    }


def _why_no_saliency(model: Model, instance: Instance) -> str:
    try:
        token_saliency(model, [instance])
    except ConfigurationError as error:
        return one_line(error)
    return "unknown"
