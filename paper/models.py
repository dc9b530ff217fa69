"""The classifiers and how right they are."""

import os
from pathlib import Path
from typing import Any, Dict, List, Sequence

from allennlp.commands.train import train_model
from allennlp.common import Params, Tqdm
from allennlp.common.util import JsonDict, lazy_groups_of
from allennlp.models.archival import load_archive
from allennlp.predictors import Predictor
from scipy.stats import binomtest

from allennlp_influence.data.example import example_of
from paper.work import Work, read, write

_CONFIGURATIONS = {"sst2": "sst2_bert.jsonnet", "mnli": "mnli_bert.jsonnet"}
_FOLDER = Path(__file__).resolve().parents[1] / "training_configs"
ACCURACY = "accuracy.json"


def train(work: Work) -> None:
    """Trains what is not given; a training that was stopped goes on after its last epoch."""
    for task, configuration in _CONFIGURATIONS.items():
        archive = work.archive(task)
        if archive.exists():
            continue
        dev = work.data.sst2_dev if task == "sst2" else work.data.mnli_dev
        params = Params.from_file(
            _FOLDER / configuration,
            ext_vars={
                "ENCODER": "minilm",
                "FROZEN_LAYERS": "",
                "TRAIN_DATA": str(work.train_data(task)),
                "DEV_DATA": str(dev),
                "TRAIN_SIZE": str(work.size.train_size),
                "LEARNING_RATE": "",
                "EPOCHS": str(work.size.epochs),
                "SEED": "2019",
            },
        )
        part = archive.parent.with_name(task + ".part")
        train_model(params, part, recover=part.exists())
        os.replace(part, archive.parent)


def measure_accuracy(work: Work) -> None:
    """Of the classifiers on SST-2's dev file, MultiNLI's matched one, and HANS, there by heuristic and gold label too."""
    if read(work.folder / ACCURACY) is not None:
        return
    sst2 = _predictions(work.archive("sst2"), work.data.sst2_dev)
    mnli = _predictions(work.archive("mnli"), work.data.mnli_dev)
    hans = _predictions(work.archive("mnli"), work.data.hans_evaluation)
    found = {"SST-2 dev": _accuracy(sst2), "MultiNLI matched": _accuracy(mnli), "HANS": _accuracy(hans)}
    for column in ("heuristic", "gold"):
        for value in sorted({row[column] for row in hans}):
            rows = [row for row in hans if row[column] == value]
            found[f"HANS, {column} {value}"] = _accuracy(rows)
    write(work.folder / ACCURACY, found)


def _predictions(archive: Path, path: Path) -> List[Dict[str, str]]:
    predictor = Predictor.from_archive(load_archive(str(archive)), "text_explainer")
    instances = list(predictor._dataset_reader.read(str(path)))
    instances.sort(key=lambda instance: len(instance["tokens"]))  # little padding
    rows = []
    for group in lazy_groups_of(Tqdm.tqdm(instances, desc=path.name), 64):
        examples = [example_of(instance, 0) for instance in group]
        predicted = [output["label"] for output in predictor.predict_batch_instance(group)]
        for example, label in zip(examples, predicted):
            rows.append({**example.columns, "gold": example.label, "predicted": label})
    return rows


def _accuracy(rows: Sequence[Dict[str, Any]]) -> JsonDict:
    """With Wilson's 95 % interval."""
    correct = sum(row["gold"] == row["predicted"] for row in rows)
    interval = binomtest(correct, len(rows)).proportion_ci(method="wilson")
    return {
        "value": correct / len(rows),
        "low": float(interval.low),
        "high": float(interval.high),
        "n": len(rows),
    }
