"""Which words of the input carried a prediction."""

from allennlp_influence.saliency.gradient_x_input import GradientXInput
from allennlp_influence.saliency.removable_words import RemovableWords
from allennlp_influence.saliency.token_saliency import Saliency, token_saliency
from allennlp_influence.saliency.token_scores import TokenScores
from allennlp_influence.saliency.words import Word
