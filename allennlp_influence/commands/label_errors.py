"""The `label-errors` subcommand lists the training examples whose label is probably wrong."""

import argparse
import csv
import io
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from allennlp.commands.subcommand import Subcommand
from allennlp.common import logging as common_logging
from allennlp.common.checks import ConfigurationError, check_for_gpu
from allennlp.interpret import InfluenceInterpreter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from allennlp_influence.analysis.label_errors import (
    EVIDENCE,
    Suspect,
    label_errors,
    opposing_influence,
)
from allennlp_influence.commands.arguments import (
    add_archive_arguments,
    add_checkpoints_argument,
    add_logging_argument,
    solver_from_text,
)
from allennlp_influence.commands.errors import one_line_errors
from allennlp_influence.commands.inputs import load_archive_or_fail
from allennlp_influence.influence.results import PROVENANCE, open_results, write_whole
from allennlp_influence.influence.solver_config import Solver
from allennlp_influence.influence.training_examples import training_lines
from allennlp_influence.predictors.inputs import local_path
from allennlp_influence.report import wording
from allennlp_influence.report.texts import visible

_SOLVER = "ek-fac"


@Subcommand.register("label-errors")
class LabelErrors(Subcommand):
    """
    Registered as a `Subcommand` with name "label-errors".
    """

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = """List the training examples of a classifier whose label is probably wrong,
        by their influence on themselves."""
        subparser = parser.add_parser(
            self.name,
            description=description,
            help="List training examples whose label is probably wrong.",
        )

        subparser.add_argument(
            "archive_file",
            type=str,
            help="path to an archived trained model, or to a result directory of 'influence'",
        )

        subparser.add_argument(
            "--output-file",
            type=str,
            help="path to output file, .csv or .jsonl, of all training examples",
        )

        subparser.add_argument(
            "--top-k", type=int, default=20, help="how many training examples to show"
        )

        subparser.add_argument(
            "--by",
            choices=EVIDENCE,
            default=EVIDENCE[0],
            help="the evidence to rank by; opposing-influence takes a result directory whose inputs "
            "have gold labels",
        )

        subparser.add_argument(
            "--train-data",
            type=str,
            help="the training file (by default the one in the archive's configuration)",
        )

        subparser.add_argument(
            "--solver",
            type=str,
            default=_SOLVER,
            help="of the self-influence: the name of a solver, or a JSON object with its parameters "
            "(a result directory has its own)",
        )

        add_checkpoints_argument(
            subparser, "archives of two more seeds find more; a result directory has its own"
        )

        add_archive_arguments(subparser)

        add_logging_argument(subparser)

        subparser.set_defaults(func=label_errors_from_args)

        return subparser


@one_line_errors("allennlp label-errors")
def label_errors_from_args(args: argparse.Namespace) -> None:
    common_logging.FILE_FRIENDLY_LOGGING = args.file_friendly_logging
    console = Console()
    if args.top_k < 1:
        raise ConfigurationError(f"--top-k must be at least 1, not {args.top_k}")
    if args.output_file is not None:
        _check_output(args.output_file)
    if (Path(args.archive_file) / PROVENANCE).exists():
        suspects = label_errors_of_results(args.archive_file, by=args.by)
    else:
        suspects = label_errors_of_archive(
            args.archive_file,
            by=args.by,
            train_data=args.train_data,
            solver=solver_from_text(args.solver),
            checkpoints=args.checkpoints,
            params_to_freeze=args.params_to_freeze,
            memory_budget=args.memory_budget,
            cache_dir=args.cache_dir,
            cuda_device=args.cuda_device,
            overrides=args.overrides,
        )
    if args.output_file is not None:
        write_suspects(suspects, args.output_file)
    print_suspects(suspects[: args.top_k], args.by, console)
    if args.output_file is not None:
        console.print(
            Text(f"All {len(suspects):,} training examples are in {args.output_file}."),
            soft_wrap=True,
        )


def label_errors_of_results(directory: str, by: str = EVIDENCE[0]) -> List[Suspect]:
    """
    The training examples of a result directory of `allennlp influence`, the most suspicious first; see `label_errors`.

    # Raises

    `ConfigurationError` if the directory is damaged, or its results have not the evidence that is asked for.
    """
    results = open_results(directory)
    opposing = opposing_influence(results)
    if by == "opposing-influence" and opposing is None:
        raise ConfigurationError(
            f"none of the inputs of {directory} is explained at its gold label; explain labelled ones with --label gold"
        )
    examples = results.training_examples
    if by == "self-influence" and any(e["self_influence"] is None for e in examples):
        raise ConfigurationError(
            f"the results in {directory} have no self-influence; give the archive in their place, or --by loss"
        )
    return label_errors(examples, results.explanations[0]["labels"], by, opposing)


def label_errors_of_archive(
    archive_file: str,
    *,
    by: str = EVIDENCE[0],
    train_data: Optional[str] = None,
    solver: Solver = _SOLVER,
    checkpoints: Optional[List[str]] = None,
    params_to_freeze: Optional[Sequence[str]] = None,
    memory_budget: float = 8.0,
    cache_dir: Optional[str] = None,
    cuda_device: int = -1,
    overrides: str = "",
) -> List[Suspect]:
    """
    The training examples of an archived model, the most suspicious first; see `label_errors`.

    # Parameters

    archive_file : `str`
    by : `str`, optional (default = `"self-influence"`)
    train_data, solver, checkpoints, params_to_freeze, memory_budget, cache_dir, cuda_device, overrides
        See `InfluenceFunctions`; the solver must be one with a self-influence.

    # Raises

    `ConfigurationError` naming what is wrong with the archive, the data or an option.
    """
    check_for_gpu(cuda_device)
    archive = load_archive_or_fail(
        local_path(archive_file, "archive"), cuda_device=cuda_device, overrides=overrides
    )
    train_data = train_data or archive.config.get("train_data_path")
    local_path(train_data, "training file", remedy="give it with --train-data")
    if by == "opposing-influence":
        raise ConfigurationError(
            "opposing influence is that on labelled inputs: run allennlp influence --label gold on some, and give its "
            "result directory in place of the archive"
        )
    interpreter = InfluenceInterpreter.from_archive(
        archive,
        interpreter_name="influence-functions",
        train_data_path=train_data,
        solver=solver,
        checkpoints=checkpoints,
        params_to_freeze=params_to_freeze,
        memory_budget=memory_budget,
        cache_dir=cache_dir,
        cuda_device=cuda_device,
    )
    examples = list(training_lines(interpreter))
    if by == "self-influence" and interpreter.no_self_influence is not None:
        # asked for, it may take longer than a run of influence would spend on it
        strengths = interpreter.self_influence.tolist()
        examples = [{**e, "self_influence": s} for e, s in zip(examples, strengths)]
    return label_errors(examples, interpreter.label_names, by)


def write_suspects(suspects: Sequence[Suspect], path: str) -> None:
    """
    As a table (.csv; each text of an example has a column) or as JSON lines (.jsonl), whole or not at all.

    # Raises

    `ConfigurationError` if the name ends otherwise, or the file can't be written.
    """
    _check_output(path)
    rows: List[Dict[str, Any]] = [suspect._asdict() for suspect in suspects]
    content = io.StringIO()
    if path.endswith(".csv"):
        flat = [{**{k: v for k, v in row.items() if k != "text"}, **row["text"]} for row in rows]
        writer = csv.DictWriter(content, list(flat[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    else:
        for row in rows:
            content.write(json.dumps(row, ensure_ascii=False) + "\n")
    try:
        write_whole(Path(path), content.getvalue())
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error}") from error


def print_suspects(suspects: Sequence[Suspect], by: str, console: Console) -> None:
    """A table in the terminal."""
    table = Table(box=None, pad_edge=False, title=f"most suspicious by {by}", title_justify="left")
    for heading in ("row", "label", "predicted", "loss", "self-influence", "percentile"):
        table.add_column(heading, justify="left" if heading in ("label", "predicted") else "right")
    table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    for suspect in suspects:
        table.add_row(
            str(suspect.id),
            Text(visible(suspect.label)),
            Text(f"{visible(suspect.predicted)} {wording.probability(suspect.probability)}"),
            wording.number(suspect.loss),
            "" if suspect.self_influence is None else wording.number(suspect.self_influence),
            f"{suspect.percentile:.1f}",
            Text(visible(" ‖ ".join(suspect.text.values()))),
        )
    console.print(table)


def _check_output(path: str) -> None:
    if not path.endswith((".csv", ".jsonl")):
        raise ConfigurationError(f"--output-file {path} must end in .csv or .jsonl")
