from allennlp_influence.influence.explanation import (
    InfluenceExplanation,
    TrainingInfluence,
    z_scores,
)
from allennlp_influence.influence.influence_functions import InfluenceFunctions
