"""Artifacts: what training examples may have, as numbers."""

from allennlp_influence.analysis.features.artifact_feature import ArtifactFeature
from allennlp_influence.analysis.features.column import Column
from allennlp_influence.analysis.features.contains_words import ContainsWords
from allennlp_influence.analysis.features.function import Function
from allennlp_influence.analysis.features.hypothesis_only_word import HypothesisOnlyWord
from allennlp_influence.analysis.features.label import Label
from allennlp_influence.analysis.features.length import Length
from allennlp_influence.analysis.features.lexical_overlap import LexicalOverlap
from allennlp_influence.analysis.features.negation import Negation
