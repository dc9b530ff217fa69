"""Endpoints of tiny classifiers, of single texts and of pairs."""

from pathlib import Path
from typing import Iterator

import pytest
from allennlp.interpret import InfluenceInterpreter

from allennlp_influence.server import InfluenceEndpoint, ServedModel
from tests.influence.archives import make_archive, transformer_classifier

FIXTURES = Path(__file__).parents[2] / "fixtures" / "tiny"
FROZEN = ["embeddings", r"layer\.0\.", "attention", "intermediate"]
SENTENCE = {"sentence": "a good film , sometimes ."}
PAIR = {"premise": "the man sleeps .", "hypothesis": "the man is good ."}


def make_endpoint(archive: str) -> InfluenceEndpoint:
    influence = InfluenceInterpreter.from_path(
        archive, interpreter_name="influence-functions", solver="gauss-newton"
    )
    return InfluenceEndpoint(ServedModel("tiny", archive), influence=influence, top_k=3)


@pytest.fixture(scope="session")
def sentence_archive(tiny_transformer, tmp_path_factory) -> str:
    name = tiny_transformer("bert")
    return make_archive(
        tmp_path_factory.mktemp("served") / "sentences",
        reader={"type": "sst2", "encoder": name, "max_length": 64},
        model=transformer_classifier(name),
        train_data=FIXTURES / "sst2_train.tsv",
        trainer={"no_grad": FROZEN},
    )


@pytest.fixture(scope="session")
def endpoint(sentence_archive) -> Iterator[InfluenceEndpoint]:
    endpoint = make_endpoint(sentence_archive)
    endpoint.prepare()
    yield endpoint
    endpoint.close()


@pytest.fixture(scope="session")
def pair_endpoint(tiny_transformer, tmp_path_factory) -> Iterator[InfluenceEndpoint]:
    name = tiny_transformer("bert")
    archive = make_archive(
        tmp_path_factory.mktemp("served") / "pairs",
        reader={"type": "nli", "encoder": name},
        model=transformer_classifier(name),
        train_data=FIXTURES / "mnli_train.tsv",
        trainer={"no_grad": FROZEN},
    )
    endpoint = make_endpoint(archive)
    yield endpoint
    endpoint.close()


@pytest.fixture
def client(endpoint):
    return endpoint.app.test_client()
