"""What influence scores say, and whether they are right: reads result directories, trains again."""

from allennlp_influence.analysis.allennlp_retrainer import AllenNLPRetrainer
from allennlp_influence.analysis.features import ArtifactFeature
from allennlp_influence.analysis.retrainer import Retrainer
from allennlp_influence.analysis.trained_layers_retrainer import TrainedLayersRetrainer
