"""Explanations in JSON, as files and the server have them."""

from typing import List, Sequence

from allennlp.common.util import JsonDict

from allennlp_influence.data.example import Example
from allennlp_influence.engine import Diagnosis
from allennlp_influence.influence.explanation import TrainingInfluence


def influences_in_json(
    influences: Sequence[TrainingInfluence], examples: Sequence[Example]
) -> List[JsonDict]:
    """Supporters or opponents, strongest first, with what they say: `examples` are those of training, in its order."""
    return [
        {
            "rank": rank,
            "id": influence.id,
            "text": examples[influence.position].text,
            "label": examples[influence.position].label,
            "loss": influence.loss,
            "score": influence.score,
            "z": influence.z,
            "token_attribution": None
            if influence.token_attribution is None
            else influence.token_attribution.to_json(),
        }
        for rank, influence in enumerate(influences, start=1)
    ]


def diagnosis_in_json(diagnosis: Diagnosis) -> JsonDict:
    """What a reader needs to judge how well a query's system was solved."""
    return {
        "residual": diagnosis.residual,
        "steps": diagnosis.steps,
        "converged": diagnosis.converged,
        "lambda_max": diagnosis.lambda_max,
        "lambda_min": diagnosis.lambda_min,
    }
