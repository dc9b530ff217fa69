"""Classifiers that AllenNLP has really trained, in a second."""

from pathlib import Path
from typing import NamedTuple

import numpy
import pytest
from allennlp.commands.train import train_model
from allennlp.common import Params

from tests.influence.archives import (
    LABELS,
    QUERIES,
    TEXTS,
    transformer_classifier,
    transformer_reader,
    write_texts,
)

SEED = 5
WORDS = {
    "type": "text_classification_json",
    "tokenizer": "whitespace",
    "token_indexers": {"tokens": "single_id"},
}


class Trained(NamedTuple):
    archive: str
    queries: str


@pytest.fixture(scope="session")
def trained_bert(tiny_transformer, tmp_path_factory) -> Trained:
    """A BERT with dropout and a frozen layer, whose best epoch is the second of three."""
    name = tiny_transformer("bert")
    return train(
        tmp_path_factory.mktemp("trained_bert"),
        dataset_reader=transformer_reader(name),
        model=transformer_classifier(name),
    )


@pytest.fixture(scope="session")
def trained_words(tmp_path_factory) -> Trained:
    """A bag of word vectors, whose vocabulary is that of its training file."""
    model = {
        "type": "basic_classifier",
        "text_field_embedder": {"token_embedders": {"tokens": {"type": "embedding", "embedding_dim": 6}}},
        "seq2vec_encoder": {"type": "boe", "embedding_dim": 6},
        "dropout": 0.2,
    }
    folder = tmp_path_factory.mktemp("trained_words")
    return train(folder, dataset_reader=WORDS, model=model)


def train(folder: Path, **config) -> Trained:
    train_data = write_texts(folder / "train.jsonl", TEXTS, LABELS)
    params = {
        "random_seed": SEED,
        "numpy_seed": SEED,
        "pytorch_seed": SEED,
        "train_data_path": str(train_data),
        "validation_data_path": str(write_texts(folder / "dev.jsonl", TEXTS[::-1], LABELS)),
        "data_loader": {"batch_size": 3, "shuffle": True},
        "trainer": {
            "num_epochs": 3,
            "validation_metric": "+accuracy",
            "no_grad": [r"layer\.0\."],
            "optimizer": {"type": "huggingface_adamw", "lr": 0.05},
        },
        **config,
    }
    train_model(Params(params), folder / "model")
    queries = write_texts(folder / "queries.jsonl", QUERIES + TEXTS[2:4])
    return Trained(str(folder / "model" / "model.tar.gz"), str(queries))


L2 = 0.3


@pytest.fixture(scope="session")
def trained_head(tiny_transformer, tmp_path_factory) -> Trained:
    """A linear layer over a frozen BERT, trained to its optimum with L2 regularisation: a convex model."""
    name = tiny_transformer("bert")
    folder = tmp_path_factory.mktemp("trained_head")
    random = numpy.random.default_rng(0)
    words = sorted({word for text in TEXTS for word in text.split()})
    texts = [" ".join(random.choice(words, random.integers(1, 5))) for _ in range(50)]
    labels = random.choice(LABELS[:2], len(texts)).tolist()
    trained = train(
        folder,
        dataset_reader=transformer_reader(name),
        model=transformer_classifier(name, dropout=0.0),
        train_data_path=str(write_texts(folder / "own.jsonl", texts[:38], labels)),
        data_loader={"batch_size": 38},
        trainer={
            "num_epochs": 24,
            "no_grad": ["embedder"],
            "optimizer": {"type": "sgd", "lr": 0.6, "weight_decay": L2},
        },
        validation_data_path=None,
    )
    return trained._replace(queries=str(write_texts(folder / "q.jsonl", texts[38:], labels[38:])))
