from allennlp_influence.data.encoder import EncoderEmbedder, EncoderPooler, resolve_encoder
from allennlp_influence.data.example import Example, example_of
from allennlp_influence.data.nli import NliReader
from allennlp_influence.data.sst2 import Sst2Reader
from allennlp_influence.data.wordpieces import WordpieceTokenizer
from allennlp_influence.data.words import WordTokenizer
