"""
The `demo` subcommand trains a small classifier on a corpus that comes with the package and explains its
predictions: nothing is downloaded, and it ends with a page to open.
"""

import argparse
import logging
import os
import shutil
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Iterator

import allennlp_influence
from allennlp.commands.subcommand import Subcommand
from allennlp.commands.train import train_model
from allennlp.common import Params
from allennlp.common.checks import ConfigurationError
from rich.console import Console

from allennlp_influence.commands.errors import one_line_errors
from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.data.demo import demo_data
from allennlp_influence.report.html import REPORT

_CONFIGURATIONS = {"sentiment": "sst2_bert.jsonnet", "nli": "mnli_bert.jsonnet"}
_NUM_INPUTS = 12


@Subcommand.register("demo")
class DemoCommand(Subcommand):
    """
    Registered as a `Subcommand` with name "demo".
    """

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = """Train a small classifier on data that comes with the package, and explain
        its predictions. Takes some minutes; needs no network and no GPU."""
        subparser = parser.add_parser(
            self.name, description=description, help="Train and explain a small classifier."
        )

        subparser.add_argument(
            "-s",
            "--serialization-dir",
            required=True,
            type=str,
            help="directory in which to save the model and its explanations; a demo that was "
            "stopped goes on there",
        )

        subparser.add_argument(
            "--task",
            type=str,
            choices=sorted(_CONFIGURATIONS),
            default="sentiment",
            help="what to classify: the sentiment of a sentence, or whether a premise entails a "
            "hypothesis",
        )

        subparser.set_defaults(func=demo_from_args)

        return subparser


@one_line_errors("allennlp-influence demo")
def demo_from_args(args: argparse.Namespace) -> None:
    run_demo(args.serialization_dir, args.task)


def run_demo(serialization_dir: str, task: str = "sentiment") -> Path:
    """
    Trains a classifier, unless that is done already, and explains its predictions on the first test examples.

    # Parameters

    serialization_dir : `str`
        Gets `model/` (as `allennlp train` leaves it), `inputs.tsv`, `influence/` (a result directory) and
        `report.html`.
    task : `str`, optional (default = `"sentiment"`)
        `sentiment` or `nli`.

    # Returns

    `Path` of the report.

    # Raises

    `ConfigurationError` if the directory holds something else.
    """
    console = Console()
    directory = Path(serialization_dir)
    data = demo_data(task)
    with _quiet_logging():
        archive = _trained(directory, task, data, console)
        inputs = directory / "inputs.tsv"
        with open(data / "test.tsv", encoding="utf-8") as rows:
            inputs.write_text("".join(islice(rows, 1 + _NUM_INPUTS)), encoding="utf-8")
        console.print(f"Explaining {_NUM_INPUTS} predictions on {inputs}", soft_wrap=True)
        influence = explain_archive(
            str(archive),
            str(inputs),
            str(directory / "influence"),
            train_data=str(data / "train.tsv"),
        )
    report = directory / REPORT
    part = report.with_name(f"{REPORT}.part")
    shutil.copy(influence / REPORT, part)
    os.replace(part, report)
    console.print(f"\nOpen {report} in a browser.", soft_wrap=True)
    console.print(
        f"Explain something else: allennlp-influence influence {archive} YOUR_FILE -s DIR",
        soft_wrap=True,
    )
    return report


def _trained(directory: Path, task: str, data: Path, console: Console) -> Path:
    """The archive of the demo's classifier; trained if it is not there."""
    model = directory / "model"
    archive = model / "model.tar.gz"
    params = Params.from_file(
        _configuration(_CONFIGURATIONS[task]),
        ext_vars={
            "ENCODER": "minilm",
            "FROZEN_LAYERS": "4",
            "TRAIN_DATA": str(data / "train.tsv"),
            "DEV_DATA": str(data / "test.tsv"),
            "TRAIN_SIZE": "10000",
            "LEARNING_RATE": "",
            "EPOCHS": "5",
            "SEED": "2019",
        },
    )
    if archive.exists():
        before = Params.from_file(model / "config.json")["dataset_reader"]["type"]
        if before != params["dataset_reader"]["type"]:
            raise ConfigurationError(
                f"{model} was trained for another task than {task}; choose another directory, or delete it"
            )
        console.print(f"{archive} is there already: not trained again.", soft_wrap=True)
        return archive
    if model.exists():
        raise ConfigurationError(
            f"{model} exists, but was not made by the demo; choose another directory"
        )
    console.print(f"Training a classifier on {data / 'train.tsv'}", soft_wrap=True)
    part = model.with_name("model.part")
    train_model(params, part, force=True)
    os.replace(part, model)
    return archive


def _configuration(name: str) -> Path:
    """A file of training_configs/, which lies beside the code when installed and beside the package in a checkout."""
    package = Path(allennlp_influence.__file__).parent
    places = [folder / "training_configs" / name for folder in (package, package.parent)]
    return next((place for place in places if place.exists()), places[-1])


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """Only warnings while the demo runs; the training's log is in the model's folder."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
