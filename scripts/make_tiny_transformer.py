"""
Tiny transformers with random weights and a small vocabulary, saved with their tokenizers in folders, as Hugging Face
saves a pretrained one: `python scripts/make_tiny_transformer.py bert FOLDER`.
"""

import sys
from pathlib import Path

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


def make_tiny_transformer(architecture: str, folder: Path) -> None:
    """Saves a tiny "bert", "roberta", "distilbert" or "electra" in an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(13)
        model_class(config).save_pretrained(folder)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ARCHITECTURES:
        sys.exit(f"usage: make_tiny_transformer.py {{{','.join(ARCHITECTURES)}}} FOLDER")
    make_tiny_transformer(sys.argv[1], Path(sys.argv[2]))
