"""
The `validate-influence` subcommand measures whether influence scores mean anything on a user's model and data, and at
which damping: it trains again, many times, on a part of the training data.
"""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Union

from allennlp.commands.subcommand import Subcommand
from allennlp.common import logging as common_logging
from allennlp.common.checks import ConfigurationError
from allennlp.common.params import parse_overrides
from allennlp.common.util import JsonDict
from rich.console import Console

from allennlp_influence.analysis.chosen_damping import choose
from allennlp_influence.analysis.linear_datamodeling import MEASURES
from allennlp_influence.analysis.model_bank import ModelBank, retrainings_without
from allennlp_influence.analysis.retrainer import Retrainer
from allennlp_influence.analysis.retrainings import Retraining
from allennlp_influence.analysis.settings import DAMPINGS, settings
from allennlp_influence.analysis.validate_lds import (
    LABELS,
    Measurements,
    groups_left_out,
    validate_lds,
)
from allennlp_influence.analysis.validate_leave_one_out import validate_leave_one_out
from allennlp_influence.analysis.validate_mislabel import validate_mislabel
from allennlp_influence.analysis.validate_pbrf import validate_pbrf
from allennlp_influence.commands.arguments import add_logging_argument, solver_from_text
from allennlp_influence.commands.errors import one_line_errors
from allennlp_influence.commands.inputs import default_cache_dir
from allennlp_influence.influence.reading import one_line
from allennlp_influence.influence.results import sha256_of_archive, write_whole
from allennlp_influence.report.validation import print_validation

METHODS = ("lds", "leave-group-out", "leave-one-out", "mislabel", "pbrf")
RESULT = "validation.json"
_SOLVERS = ["identity", "gauss-newton", "ek-fac"]
_DAMPINGS = {"leave-one-out": [0.01], "pbrf": [0.1]}
_NUM_LEFT_OUT = {"leave-one-out": 50, "pbrf": 24}


@Subcommand.register("validate-influence")
class ValidateInfluenceCommand(Subcommand):
    """
    Registered as a `Subcommand` with name "validate-influence".
    """

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = """Measure whether influence scores predict what training without some examples
        does, by training again, and which solver and damping predict it best."""
        subparser = parser.add_parser(
            self.name,
            description=description,
            help="Measure whether influence scores predict retraining, and at which damping.",
        )

        subparser.add_argument(
            "archive_file",
            type=str,
            help="path to an archived trained model, or to the configuration that it was trained from",
        )

        subparser.add_argument(
            "input_file",
            type=str,
            help="path to or url of the inputs that are explained, as for `allennlp influence`; some 50 "
            "to 200 are enough",
        )

        subparser.add_argument(
            "-s",
            "--serialization-dir",
            required=True,
            type=str,
            help=f"directory in which to save {RESULT}",
        )

        subparser.add_argument(
            "--method",
            choices=METHODS,
            default="lds",
            help="lds: random half of the training data left out; leave-group-out: a smaller part; "
            "leave-one-out: single examples left out of the last layer, trained to its optimum; mislabel: "
            "wrong labels planted; pbrf: the proximal Bregman response to leaving out single examples",
        )

        subparser.add_argument(
            "--examples",
            type=int,
            help="use the first so many training examples (by default all of them)",
        )

        subparser.add_argument(
            "--solver",
            nargs="+",
            default=_SOLVERS,
            help="what is compared: names of solvers, or JSON objects with their parameters",
        )

        subparser.add_argument(
            "--damping",
            nargs="+",
            type=float,
            help=f"every λ to compare (by default {' '.join(f'{d:g}' for d in DAMPINGS)}; for "
            "leave-one-out 0.01, for pbrf 0.1)",
        )

        subparser.add_argument(
            "--subsets", type=int, default=100, help="how many groups are left out (lds, leave-group-out)"
        )

        subparser.add_argument(
            "--seeds",
            type=int,
            default=3,
            help="how many models each group is left out of, or (mislabel) are trained on each set of wrong labels",
        )

        subparser.add_argument(
            "--explained",
            type=int,
            default=3,
            help="how many models, trained on everything, are explained; for mislabel how many sets of wrong labels "
            "there are",
        )

        subparser.add_argument(
            "--checkpoints",
            action="store_true",
            help="explain the models at the end of every epoch of their training too, as `influence --checkpoints` does "
            "(lds, leave-group-out)",
        )

        subparser.add_argument(
            "--share",
            nargs="+",
            type=float,
            help="the share of the examples that is left out (leave-group-out: 0.05) or gets wrong labels "
            "(mislabel: 0.1 0.2)",
        )

        subparser.add_argument(
            "--left-out",
            type=int,
            help="how many examples are left out one by one (leave-one-out: 50, pbrf: 24)",
        )

        subparser.add_argument(
            "--measure",
            choices=MEASURES,
            default="margin",
            help="what is measured of the retrained models (lds, leave-group-out)",
        )

        subparser.add_argument(
            "--label",
            choices=LABELS,
            default="predicted",
            help="the label of the inputs that is explained",
        )

        subparser.add_argument(
            "--choose",
            action="store_true",
            help="keep the best damping of each solver for `allennlp influence --damping auto` (lds)",
        )

        subparser.add_argument(
            "--retrainer",
            choices=sorted(Retrainer.list_available()),
            default="trained-layers",
            help="how to train again; the models that are explained take 'trained-layers'",
        )

        subparser.add_argument(
            "--processes", type=int, default=1, help="how many models to train at a time"
        )

        subparser.add_argument(
            "--train-data",
            type=str,
            help="the training file (by default the one in the archive's configuration)",
        )

        subparser.add_argument(
            "--cache-dir",
            type=str,
            default=default_cache_dir(),
            help="folder that keeps the retrained models' predictions, and what was computed of them",
        )

        subparser.add_argument(
            "-o",
            "--overrides",
            type=str,
            default="",
            help=(
                "a json(net) structure used to override the experiment configuration, e.g., "
                "'{\"validation_data_path\": null}' to take the last epoch."
            ),
        )

        add_logging_argument(subparser)

        subparser.set_defaults(func=validate_from_args)

        return subparser


@one_line_errors("allennlp validate-influence")
def validate_from_args(args: argparse.Namespace) -> None:
    common_logging.FILE_FRIENDLY_LOGGING = args.file_friendly_logging
    validate_archive(
        args.archive_file,
        args.input_file,
        args.serialization_dir,
        method=args.method,
        num_examples=args.examples,
        solvers=[solver_from_text(text) for text in args.solver],
        dampings=args.damping,
        num_subsets=args.subsets,
        num_seeds=args.seeds,
        num_explained=args.explained,
        at_checkpoints=args.checkpoints,
        shares=args.share,
        num_left_out=args.left_out,
        measure=args.measure,
        label=args.label,
        choose_damping=args.choose,
        retrainer=args.retrainer,
        processes=args.processes,
        train_data=args.train_data,
        cache_dir=args.cache_dir,
        overrides=args.overrides,
    )


def validate_archive(
    archive_file: str,
    input_file: str,
    serialization_dir: str,
    *,
    method: str = "lds",
    num_examples: Optional[int] = None,
    solvers: Sequence[Union[str, Dict[str, Any]]] = _SOLVERS,
    dampings: Optional[Sequence[float]] = None,
    num_subsets: int = 100,
    num_seeds: int = 3,
    num_explained: int = 3,
    at_checkpoints: bool = False,
    shares: Optional[Sequence[float]] = None,
    num_left_out: Optional[int] = None,
    measure: str = "margin",
    label: str = "predicted",
    choose_damping: bool = False,
    retrainer: str = "trained-layers",
    processes: int = 1,
    train_data: Optional[str] = None,
    cache_dir: str = "",
    overrides: str = "",
) -> JsonDict:
    """
    # Parameters

    archive_file, input_file : `str`
    serialization_dir : `str`
        Gets `validation.json`.
    method : `str`, optional (default = `"lds"`)
        `lds`, `leave-group-out`, `leave-one-out`, `mislabel` or `pbrf`.
    num_examples : `int`, optional (default = `None`)
        Of the training data, from the first.
    solvers, dampings
        See `settings`.
    num_subsets, num_seeds, num_explained, measure, label
        See `Measurements`; for `mislabel`, `num_models` and `num_labellings` of `validate_mislabel`.
    at_checkpoints : `bool`, optional (default = `False`)
        Every solver and λ on average over the ends of the epochs too.
    shares : `Sequence[float]`, optional (default = `None`)
        Of the examples: what is left out of every group, or gets wrong labels.
    num_left_out : `int`, optional (default = `None`)
        See `validate_leave_one_out` and `validate_pbrf`.
    choose_damping : `bool`, optional (default = `False`)
        Keep the best λ of each solver in the cache.
    retrainer, train_data, overrides
        See `Retrainer`.
    processes : `int`, optional (default = `1`)
    cache_dir : `str`, optional (default = the user's cache)
        Holds the model banks, which a run that was stopped goes on with.

    # Returns

    `JsonDict`
        What is in `validation.json`.

    # Raises

    `ConfigurationError` naming the option, or what is wrong with the archive or the data.
    """
    console = Console()
    start = time.perf_counter()
    if processes < 1:
        raise ConfigurationError(f"--processes must be at least 1, not {processes}")
    if choose_damping and method != "lds":
        raise ConfigurationError(f"--choose goes by --method lds, not {method}")
    if at_checkpoints and method not in ("lds", "leave-group-out"):
        raise ConfigurationError(f"--checkpoints is for --method lds and leave-group-out, not {method}")
    if choose_damping and archive_file.endswith((".json", ".jsonnet")):
        raise ConfigurationError("--choose is for an archive, and not for a configuration")
    compared = settings(solvers, dampings or _DAMPINGS.get(method, DAMPINGS))
    if at_checkpoints:
        compared += [setting._replace(at_checkpoints=True) for setting in compared]
    cache_dir = cache_dir or default_cache_dir()
    config = {
        "type": retrainer,
        "archive_file": archive_file,
        "input_file": input_file,
        "train_data": train_data,
        "overrides": with_examples(overrides, num_examples),
    }
    with ModelBank(Path(cache_dir) / "models", config, processes) as bank:
        console.print(
            f"{len(bank.retrainer.examples):,} training examples, {len(bank.retrainer.queries)} inputs; models are kept in "
            f"{bank.directory}",
            highlight=False,
            soft_wrap=True,
        )
        if method in ("lds", "leave-group-out"):
            share = (shares or [0.5 if method == "lds" else 0.05])[0]
            groups = groups_left_out(bank, num_subsets, share)
            _say_cost(bank, retrainings_without(groups, range(num_seeds)), processes, console)
            measurements = Measurements(
                bank, num_subsets, num_seeds, num_explained, measure, label, share
            )
            found = validate_lds(measurements, compared)
        elif method == "mislabel":
            shares = shares or [0.1, 0.2]
            found = validate_mislabel(bank, compared, shares, num_explained, num_seeds)
        else:
            validate = validate_leave_one_out if method == "leave-one-out" else validate_pbrf
            found = validate(bank, compared, num_left_out or _NUM_LEFT_OUT[method], label)
        result = {
            "method": method,
            "command": shlex.join(sys.argv),
            "examples": len(bank.retrainer.examples),
            "queries": len(bank.retrainer.queries),
            "retrainer": {**config, "fingerprint": bank.retrainer.fingerprint},
            "device": bank.retrainer.device,
            "subsets": num_subsets,
            "seeds": num_seeds,
            "explained": num_explained,
            "measure": measure,
            "label": label,
            "seconds_per_model": sum(bank.seconds) / len(bank.seconds) if bank.seconds else None,
            "seconds": time.perf_counter() - start,
            **found,
        }
        if choose_damping:
            result["chosen"] = choose(
                cache_dir, sha256_of_archive(archive_file), bank.retrainer.examples, found["rows"]
            )
    directory = Path(serialization_dir)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(directory / RESULT, json.dumps(result, indent=2) + "\n")
    except OSError as error:
        raise ConfigurationError(f"{directory} can't be written: {error}") from error
    print_validation(result, console)
    return result


def with_examples(overrides: str, num_examples: Optional[int]) -> str:
    """
    Overrides that take only the first so many training examples.

    # Raises

    `ConfigurationError` if that is fewer than two, or the overrides can't be read.
    """
    try:
        own = parse_overrides(overrides)
    except (RuntimeError, ValueError) as error:  # of jsonnet
        raise ConfigurationError(f"--overrides is no JSON or jsonnet: {one_line(error)}") from error
    if num_examples is None:
        return overrides
    if num_examples < 2:
        raise ConfigurationError(f"--examples must be at least 2, not {num_examples}")
    return json.dumps({**own, "dataset_reader.max_instances": num_examples})


def _say_cost(
    bank: ModelBank, retrainings: Sequence[Retraining], processes: int, console: Console
) -> None:
    missing = bank.missing(retrainings)
    text = f"{missing} of {len(retrainings)} models without some of the examples are to be trained"
    if missing and bank.seconds:
        each = sum(bank.seconds) / len(bank.seconds)
        minutes = max(1, round(missing * each / processes / 60))
        text += f", {each:.0f} s each as before: expect {minutes} minutes"
    console.print(text, highlight=False, soft_wrap=True)
