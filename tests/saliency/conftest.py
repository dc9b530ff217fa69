"""Tiny transformers with random weights and their tokenizers, saved in folders."""

from pathlib import Path
from typing import Callable

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertModel,
    DistilBertTokenizerFast,
    ElectraConfig,
    ElectraModel,
    ElectraTokenizerFast,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizerFast,
)

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
PIECES = (
    "a b the film some ##times ted ##ious is not good bad . , ' don t café the man sleeps".split()
)
TEXT = "the film is sometimes not good . a tedious film is bad , sometimes . the man sleeps"


def _wordpiece(folder: Path, tokenizer_class: type, config) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(dict.fromkeys(PIECES))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    tokenizer_class(str(folder / "vocab.txt")).save_pretrained(folder)
    config.vocab_size = len(vocabulary)


def _make(architecture: str, folder: Path) -> None:
    sizes = dict(num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    if architecture == "roberta":
        bpe = ByteLevelBPETokenizer()
        specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        bpe.train_from_iterator([TEXT] * 3, vocab_size=300, special_tokens=specials)
        bpe.save_model(str(folder))
        tokenizer = RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
        tokenizer.save_pretrained(folder)
        config = RobertaConfig(
            hidden_size=8, vocab_size=len(tokenizer), max_position_embeddings=66, **sizes
        )
        model_class = RobertaModel
    elif architecture == "distilbert":
        config = DistilBertConfig(dim=8, n_layers=2, n_heads=2, hidden_dim=16)
        config.max_position_embeddings = 64
        _wordpiece(folder, DistilBertTokenizerFast, config)
        model_class = DistilBertModel
    elif architecture == "electra":
        config = ElectraConfig(hidden_size=8, embedding_size=6, **sizes)
        _wordpiece(folder, ElectraTokenizerFast, config)
        model_class = ElectraModel
    else:
        config = BertConfig(hidden_size=8, max_position_embeddings=64, **sizes)
        _wordpiece(folder, BertTokenizerFast, config)
        model_class = BertModel
    config.initializer_range = 0.5  # far from linear, so that a wrong formula shows
    torch.manual_seed(13)
    model_class(config).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_transformer(tmp_path_factory) -> Callable[[str], str]:
    """Gives the folder of a tiny "bert", "roberta", "distilbert" or "electra"."""
    made = {}

    def folder_of(architecture: str) -> str:
        if architecture not in made:
            folder = tmp_path_factory.mktemp(architecture)
            with torch.random.fork_rng(devices=[]):
                _make(architecture, folder)
            made[architecture] = str(folder)
        return made[architecture]

    return folder_of
