"""Influence functions, saliency and data artifacts for AllenNLP's text classifiers."""

__version__ = "0.1.0"

from allennlp_influence import training_defaults  # noqa: E402
from allennlp_influence import data, influence, predictors, saliency  # noqa: E402
