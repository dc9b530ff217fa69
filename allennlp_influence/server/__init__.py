"""A server for browsers and for the clients of AllenNLP's demo."""

from allennlp_influence.server.endpoint import InfluenceEndpoint
from allennlp_influence.server.model import ServedModel, name_of
