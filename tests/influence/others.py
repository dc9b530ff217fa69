"""What others archive: readers, encoders and data files of AllenNLP and allennlp-models."""

import json
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

from allennlp_models.classification import StanfordSentimentTreeBankDatasetReader  # noqa: F401
from allennlp_models.pair_classification import SnliReader  # noqa: F401

from tests.influence.archives import (
    LABELS,
    QUERIES,
    TEXTS,
    Config,
    transformer_classifier,
    transformer_reader,
    write_json_lines,
    write_texts,
)

LOWER = ["embeddings", r"layer\.0\."]
WORDS = {
    "type": "text_classification_json",
    "tokenizer": "whitespace",
    "token_indexers": {"tokens": "single_id"},
}
PAIRS = [("a good film", "the film is bad ."), ("the man sleeps", "sometimes")]


def words_classifier(encoder: Config, **options: Any) -> Config:
    return {
        "type": "basic_classifier",
        "text_field_embedder": {
            "token_embedders": {"tokens": {"type": "embedding", "embedding_dim": 4}}
        },
        "seq2vec_encoder": encoder,
        **options,
    }


def texts(folder: Path) -> Path:
    return write_texts(folder / "train.jsonl", TEXTS, LABELS)


def short_texts(folder: Path) -> Path:
    short = [(text, label) for text, label in zip(TEXTS, LABELS) if len(text.split()) < 4]
    return write_texts(folder / "train.jsonl", *zip(*short))


def rarely_folded_texts(folder: Path) -> Path:
    """Eight word pieces in four words: among the shorter texts, yet the only one that is folded at eight."""
    rows = ["good", "bad", "good film", "bad film .", "the film is good"]
    rows += [4 * "tedious ", "the film is bad .", "the man is not good ."]
    return write_texts(folder / "train.jsonl", rows, LABELS[: len(rows)])


def snli(folder: Path) -> Path:
    labels = ["entailment", "neutral", "contradiction", "-"]
    rows = [
        {"sentence1": text, "sentence2": TEXTS[3 * i % 10], "gold_label": labels[i % 4]}
        for i, text in enumerate(TEXTS)
    ]
    return write_json_lines(folder / "snli.jsonl", rows)


def trees(folder: Path) -> Path:
    path = folder / "trees.txt"
    leaves = [" ".join(f"(2 {word})" for word in text.split()) for text in TEXTS]
    path.write_text("".join(f"({i % 5} {leaf})\n" for i, leaf in enumerate(leaves)))
    return path


def kinds(name_of: Callable[[str], str]) -> Dict[str, Tuple]:
    """Reader, model, what training froze, training file, queries; `name_of` gives a transformer's folder."""
    bert = name_of("bert")
    pieces = {"type": "pretrained_transformer", "model_name": bert}
    in_words = {"type": "pretrained_transformer_mismatched", "model_name": bert}
    over_words = transformer_classifier(
        bert, {"type": "bag_of_embeddings", "embedding_dim": 8, "averaged": True}
    )
    over_words["text_field_embedder"]["token_embedders"]["tokens"] = in_words
    folded_reader, folded = transformer_reader(bert), transformer_classifier(bert)
    folded_reader["token_indexers"]["tokens"]["max_length"] = 8
    folded["text_field_embedder"]["token_embedders"]["tokens"]["max_length"] = 8
    folded_words = json.loads(json.dumps(over_words))
    folded_words["text_field_embedder"]["token_embedders"]["tokens"]["max_length"] = 8
    hidden = {"input_dim": 8, "num_layers": 1, "hidden_dims": 6, "activations": "tanh"}
    lstm = {"type": "lstm", "input_size": 4, "hidden_size": 3}
    pooler = {"type": "bert_pooler", "pretrained_model": bert}
    return {
        "bert with its pooler": (
            transformer_reader(bert),
            transformer_classifier(bert, pooler),
            ["_text_field_embedder"],
            texts,
            QUERIES,
        ),
        "roberta with a feedforward": (
            transformer_reader(name_of("roberta")),
            transformer_classifier(name_of("roberta"), feedforward=hidden),
            LOWER,
            texts,
            QUERIES,
        ),
        "distilbert": (
            transformer_reader(name_of("distilbert")),
            transformer_classifier(name_of("distilbert")),
            LOWER,
            texts,
            QUERIES,
        ),
        "electra": (
            transformer_reader(name_of("electra")),
            transformer_classifier(name_of("electra")),
            LOWER,
            texts,
            QUERIES,
        ),
        "bert below words": (
            {**WORDS, "token_indexers": {"tokens": in_words}},
            over_words,
            LOWER,
            texts,
            QUERIES,
        ),
        "bert with folded texts": (folded_reader, folded, LOWER, texts, QUERIES + TEXTS[2:3]),
        "bert with a folded query": (folded_reader, folded, LOWER, short_texts, TEXTS[1:3]),
        "bert below words, one text folded": (
            {**WORDS, "token_indexers": {"tokens": {**in_words, "max_length": 8}}},
            folded_words,
            LOWER,
            rarely_folded_texts,
            QUERIES,
        ),
        "snli": (
            {
                "type": "snli",
                "tokenizer": {**pieces, "add_special_tokens": False},
                "token_indexers": {"tokens": pieces},
            },
            transformer_classifier(bert),
            LOWER,
            snli,
            PAIRS,
        ),
        "sst_tokens": (
            {
                "type": "sst_tokens",
                "granularity": "2-class",
                "tokenizer": pieces,
                "token_indexers": {"tokens": pieces},
            },
            transformer_classifier(bert),
            LOWER,
            trees,
            [(query.split(),) for query in QUERIES],
        ),
        "lstm": (WORDS, words_classifier(lstm), [], texts, QUERIES),
        "lstm below a bag": (
            WORDS,
            words_classifier({"type": "boe", "embedding_dim": 3}, seq2seq_encoder=lstm),
            [],
            texts,
            QUERIES,
        ),
        "gru, embeddings frozen": (
            WORDS,
            words_classifier({"type": "gru", "input_size": 4, "hidden_size": 3, "num_layers": 2}),
            ["_text_field_embedder"],
            texts,
            QUERIES,
        ),
        "bag of embeddings": (
            WORDS,
            words_classifier({"type": "boe", "embedding_dim": 4}),
            [],
            texts,
            QUERIES,
        ),
    }
