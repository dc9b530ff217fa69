"""AllenNLP subcommands."""

from allennlp_influence.commands.consistency import ConsistencyCommand
from allennlp_influence.commands.artifacts import ArtifactsCommand
from allennlp_influence.commands.demo import DemoCommand
from allennlp_influence.commands.influence import InfluenceCommand
from allennlp_influence.commands.influence_server import InfluenceServer
from allennlp_influence.commands.label_errors import LabelErrors
from allennlp_influence.commands.negate_hans import NegateHans
from allennlp_influence.commands.removal import RemovalCommand
from allennlp_influence.commands.saliency import SaliencyCommand
from allennlp_influence.commands.what_if import WhatIf
