"""The `what-if` subcommand says what the predictions would be without some training examples."""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy
from allennlp.commands.subcommand import Subcommand
from allennlp.common import Tqdm
from allennlp.common import logging as common_logging
from allennlp.common.checks import ConfigurationError
from rich.console import Console
from rich.text import Text

from allennlp_influence.analysis.removal import check_same_data
from allennlp_influence.analysis.retrainer import Retrainer
from allennlp_influence.analysis.retrainings import (
    Journal,
    Retraining,
    check_seeds,
    make_retrainer,
    retrain,
)
from allennlp_influence.analysis.tables import csv_text
from allennlp_influence.analysis.what_if import (
    Change,
    by_linearised_model,
    by_scores,
    by_training_again,
    positions_of,
)
from allennlp_influence.commands.arguments import add_logging_argument
from allennlp_influence.commands.errors import one_line_errors
from allennlp_influence.commands.inputs import default_cache_dir
from allennlp_influence.commands.removal import SEEDS, retrainer_config
from allennlp_influence.commands.reopening import (
    Reopening,
    add_reopening_arguments,
    reopening_from_args,
)
from allennlp_influence.influence.results import open_results, write_whole
from allennlp_influence.report.what_if import print_what_if


@Subcommand.register("what-if")
class WhatIf(Subcommand):
    """
    Registered as a `Subcommand` with name "what-if".
    """

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = """Predict how the predictions in a result directory of `allennlp influence` would
        change if some training examples were not there, and find out by training again."""
        subparser = parser.add_parser(
            self.name,
            description=description,
            help="Predict the predictions without some training examples.",
        )

        subparser.add_argument(
            "results", type=str, help="path to a result directory of `allennlp influence`"
        )

        subparser.add_argument(
            "--remove", nargs="+", type=int, default=[], help="ids of training examples: rows of the file"
        )

        subparser.add_argument(
            "--remove-file",
            type=str,
            help="path to a file with the ids, one a line, as the report page saves them",
        )

        subparser.add_argument(
            "--linearised",
            action="store_true",
            help="predict by the model that is linear in its parameters too, whose curvature changes with "
            "the training examples: exact for large groups where the sum of scores is not",
        )

        subparser.add_argument(
            "--retrain",
            nargs="?",
            const=Retrainer.default_implementation,
            metavar="RETRAINER",
            help="train again, with and without: by 'allennlp' (the default), 'trained-layers', or a JSON "
            "object with their parameters",
        )

        subparser.add_argument(
            "--seeds", nargs="+", type=int, default=SEEDS[:3], help="the seeds to train again with"
        )

        subparser.add_argument(
            "--processes", type=int, default=1, help="how many models to train at a time"
        )

        subparser.add_argument(
            "--top-k", type=int, default=20, help="how many inputs to show, those that change most"
        )

        subparser.add_argument(
            "--output-file", type=str, help="path to output file, .csv or .jsonl, of all inputs"
        )

        add_reopening_arguments(subparser)

        add_logging_argument(subparser)

        subparser.set_defaults(func=what_if_from_args)

        return subparser


@one_line_errors("allennlp what-if")
def what_if_from_args(args: argparse.Namespace) -> None:
    common_logging.FILE_FRIENDLY_LOGGING = args.file_friendly_logging
    console = Console()
    for name, value in (("processes", args.processes), ("top-k", args.top_k)):
        if value < 1:
            raise ConfigurationError(f"--{name} must be at least 1, not {value}")
    if args.output_file is not None:
        _check_output(args.output_file)
    ids = args.remove + (read_ids(args.remove_file) if args.remove_file else [])
    rows = what_if(
        reopening_from_args(open_results(args.results), args),
        ids,
        linearised=args.linearised,
        retrainer=args.retrain,
        seeds=args.seeds,
        processes=args.processes,
        cache_dir=args.cache_dir,
    )
    if args.output_file is not None:
        _write(rows, args.output_file)
    number = len(set(ids))
    print_what_if(
        rows, f"Without {number:,} training example{'s' * (number > 1)}", args.top_k, console
    )
    if args.output_file is not None:
        console.print(Text(f"All {len(rows)} inputs are in {args.output_file}."), soft_wrap=True)


def read_ids(path: str) -> List[int]:
    """
    Ids of training examples from a file, one a line.

    # Raises

    `ConfigurationError` naming the file and the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the file of ids {path} can't be read: {error}") from error
    ids = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            ids.append(int(line))
        except ValueError as error:
            raise ConfigurationError(
                f"{path}, line {number}: {line.strip()!r} is not the id of a training example, a whole number"
            ) from error
    return ids


def what_if(
    reopening: Reopening,
    ids: Sequence[int],
    *,
    linearised: bool = False,
    retrainer: Optional[str] = None,
    seeds: Sequence[int] = SEEDS[:3],
    processes: int = 1,
    cache_dir: Optional[str] = None,
) -> List[Dict[str, Any]]:
    """
    What the predictions of a result directory would be without some training examples.

    # Parameters

    reopening : `Reopening`
        Of the result directory; neither archive nor data are needed for the sum of scores.
    ids : `Sequence[int]`
        Of the training examples.
    linearised : `bool`, optional (default = `False`)
        See `by_linearised_model`.
    retrainer : `str`, optional (default = `None`)
        How to train again with and without them, see `retrainer_config`; by default not at all.
    seeds : `Sequence[int]`, optional
        Of training again.
    processes : `int`, optional (default = `1`)
    cache_dir : `str`, optional
        Folder that keeps the predictions of what is trained again for the next time; by default in the user's cache.

    # Returns

    `List[Dict[str, Any]]`
        For each input its id, text, explained label, confidence and loss, and their changes by each way: `scores`,
        `linearised`, `retrained` (means over the seeds, with standard errors).

    # Raises

    `ConfigurationError` naming what is wrong with the ids, the data or an option.
    """
    results = reopening.results
    positions = positions_of(results, ids)
    lines = results.explanations
    labels = [line["explained"] for line in lines]
    rows = [
        {
            "id": line["id"],
            "text": line["text"],
            "explained": line["explained"],
            "confidence": float(numpy.exp(-line["loss"])),
            "loss": line["loss"],
            **_columns("scores", [change]),
        }
        for line, change in zip(lines, by_scores(results, positions))
    ]
    if linearised:
        instances = [instance for instance, _ in reopening.queries]
        changes = by_linearised_model(reopening.interpreter, instances, positions, labels)
        for row, change in zip(rows, changes):
            row.update(_columns("linearised", [change]))
    if retrainer is not None:
        found = _train_again(reopening, positions, labels, retrainer, seeds, processes, cache_dir)
        for row, of_seeds in zip(rows, found):
            row.update(_columns("retrained", of_seeds))
    return rows


def _train_again(
    reopening: Reopening,
    positions: Sequence[int],
    labels: Sequence[str],
    retrainer_text: str,
    seeds: Sequence[int],
    processes: int,
    cache_dir: Optional[str],
) -> List[List[Change]]:
    check_seeds(seeds)
    results = reopening.results
    config = retrainer_config(reopening, retrainer_text)
    retrainer = make_retrainer(config)
    check_same_data(results, retrainer)
    work = [Retraining(s, removed) for s in seeds for removed in ((), tuple(positions))]
    with Journal(
        Path(cache_dir or default_cache_dir()) / "retrainings" / retrainer.fingerprint[:32],
        {"retrainer": retrainer.fingerprint},
    ) as journal:
        missing = [retraining for retraining in work if retraining not in journal]
        with Tqdm.tqdm(total=len(missing), desc="models", disable=not missing) as progress:
            for _ in retrain(missing, journal, retrainer, config, processes=processes):
                progress.update()
        indices = [retrainer.label_names.index(label) for label in labels]
        return by_training_again(journal, positions, seeds, indices)


def _columns(way: str, changes: Sequence[Change]) -> Dict[str, Any]:
    """The mean of changes, and its standard error if there are several."""
    columns = {}
    for name in Change._fields:
        values = [getattr(change, name) for change in changes]
        columns[f"{way}_{name}"] = float(numpy.mean(values))
        if len(values) > 1:
            error = float(numpy.std(values, ddof=1) / numpy.sqrt(len(values)))
            columns[f"{way}_{name}_standard_error"] = error
    return columns


def _check_output(path: str) -> None:
    if not path.endswith((".csv", ".jsonl")):
        raise ConfigurationError(f"--output-file {path} must end in .csv or .jsonl")


def _write(rows: Sequence[Dict[str, Any]], path: str) -> None:
    if path.endswith(".csv"):
        text = csv_text([{**row, "text": " ‖ ".join(row["text"].values())} for row in rows])
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        write_whole(Path(path), text)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error}") from error
