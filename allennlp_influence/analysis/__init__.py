"""What influence scores say, and whether they are right: reads result directories, trains again."""

from allennlp_influence.analysis.allennlp_retrainer import AllenNLPRetrainer
from allennlp_influence.analysis.features import ArtifactFeature
from allennlp_influence.analysis.retrainer import Retrainer
