"""One small classifier that most tests share."""

import pytest

from tests.influence.archives import (
    LABELS,
    TEXTS,
    make_archive,
    transformer_classifier,
    transformer_reader,
    write_texts,
)

# Of the trained layer only its own output is left, so that the Hessian is quickly written down.
FROZEN = ["embeddings", r"layer\.0\.", "attention", "intermediate"]


@pytest.fixture(scope="session")
def bert_archive(tiny_transformer, tmp_path_factory) -> str:
    """A BERT that was trained from the middle of its second layer on, with three classes."""
    folder = tmp_path_factory.mktemp("bert_archive")
    name = tiny_transformer("bert")
    return make_archive(
        folder / "model",
        reader=transformer_reader(name),
        model=transformer_classifier(name),
        train_data=write_texts(folder / "train.jsonl", TEXTS, LABELS),
        trainer={"no_grad": FROZEN},
        seed=6,  # the two queries get different predictions
    )
