"""Archives of tiny classifiers with random weights, as `allennlp train` would leave them."""

import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch
from allennlp.common import Params
from allennlp.data import DatasetReader, Vocabulary
from allennlp.models import Model
from allennlp.models.archival import archive_model

Config = Dict[str, Any]

TEXTS = [
    "a film sometimes tedious .",
    "good",
    "the film is not good and not bad , the man sleeps",
    "tedious tedious",
    "bad film .",
    "the man sleeps .",
    "good good film",
    "not good .",
    "a tedious , bad film",
    "the film is good",
]
LABELS = ["neg", "pos", "none", "neg", "neg", "none", "pos", "neg", "neg", "pos"]
QUERIES = ["a good film , sometimes .", "bad"]


def make_archive(
    folder: Path,
    *,
    reader: Config,
    model: Config,
    train_data: Path,
    trainer: Optional[Config] = None,
    seed: int = 0,
) -> str:
    """Archives a random model whose vocabulary is that of its training file; gives the path of the archive."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"dataset_reader": reader, "model": model, "train_data_path": str(train_data)}
    if trainer is not None:
        config["trainer"] = trainer
    (folder / "config.json").write_text(json.dumps(config))
    instances = DatasetReader.from_params(Params(json.loads(json.dumps(reader)))).read(train_data)
    vocabulary = Vocabulary.from_instances(instances)
    vocabulary.save_to_files(str(folder / "vocabulary"))
    torch.manual_seed(seed)
    random_model = Model.from_params(Params(json.loads(json.dumps(model))), vocab=vocabulary)
    for parameter in random_model._classification_layer.parameters():
        torch.nn.init.normal_(parameter)
    torch.save(random_model.state_dict(), folder / "weights.th")
    return archive_model(str(folder), weights="weights.th")


def transformer_classifier(name: str, pooler: Optional[Config] = None, **options: Any) -> Config:
    """The configuration of a `basic_classifier` over a pretrained transformer."""
    return {
        "type": "basic_classifier",
        "text_field_embedder": {
            "token_embedders": {"tokens": {"type": "pretrained_transformer", "model_name": name}}
        },
        "seq2vec_encoder": pooler or {"type": "cls_pooler", "embedding_dim": 8},
        "dropout": 0.5,
        "namespace": "tags",
        **options,
    }


def transformer_reader(name: str, **options: Any) -> Config:
    """The configuration of `text_classification_json` with a transformer's tokens."""
    return {
        "type": "text_classification_json",
        "tokenizer": {"type": "pretrained_transformer", "model_name": name},
        "token_indexers": {"tokens": {"type": "pretrained_transformer", "model_name": name}},
        **options,
    }


def write_json_lines(path: Path, rows: Sequence[Dict[str, Any]]) -> Path:
    """A file with a JSON object on every line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_texts(path: Path, texts: Sequence[str], labels: Optional[Sequence[str]] = None) -> Path:
    """A file for `text_classification_json`; without labels if there are none."""
    rows: List[Dict[str, Any]] = [{"text": text} for text in texts]
    for row, label in zip(rows, labels or ()):
        row["label"] = label
    return write_json_lines(path, rows)
