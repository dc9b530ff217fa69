"""
The `removal` subcommand tests influence scores: it removes the training examples that they point at, trains again, and
measures how the predictions change.
"""

import argparse
import json
import shlex
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from allennlp.commands.subcommand import Subcommand
from allennlp.common import Tqdm
from allennlp.common import logging as common_logging
from allennlp.common.checks import ConfigurationError
from rich.console import Console
from rich.text import Text

from allennlp_influence.analysis.clusters import ClusterBootstrap
from allennlp_influence.analysis.removal import (
    GROUPS,
    Row,
    changes_of,
    check_same_data,
    plan,
    retrainings_of,
    table,
)
from allennlp_influence.analysis.removal_files import SUMMARY_CSV, write_removal
from allennlp_influence.analysis.retrainer import Retrainer
from allennlp_influence.analysis.retrainings import (
    Journal,
    Retraining,
    check_seeds,
    make_retrainer,
    retrain,
)
from allennlp_influence.commands.arguments import add_logging_argument
from allennlp_influence.commands.errors import one_line_errors
from allennlp_influence.commands.inputs import default_cache_dir
from allennlp_influence.commands.reopening import Reopening
from allennlp_influence.influence.results import Results, open_results
from allennlp_influence.report.removal import print_removal

SEEDS = [2019, 2029, 2039, 2049, 2059]  # the paper's


@Subcommand.register("removal")
class RemovalCommand(Subcommand):
    """
    Registered as a `Subcommand` with name "removal".
    """

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = """Test influence scores by training again: for each input of a result directory of
        `allennlp influence`, remove the most positive, most negative, least influential or random training
        examples and measure how the prediction changes."""
        subparser = parser.add_parser(
            self.name,
            description=description,
            help="Test influence scores by removing training examples and training again.",
        )

        subparser.add_argument(
            "archive_file",
            type=str,
            help="path to an archived trained model, or to the configuration that it was trained from",
        )

        subparser.add_argument(
            "results", type=str, help="path to a result directory of `allennlp influence`"
        )

        subparser.add_argument(
            "-s",
            "--serialization-dir",
            required=True,
            type=str,
            help="directory in which to save every model's predictions and the tables; what is there is "
            "not trained again",
        )

        subparser.add_argument(
            "--models-dir",
            type=str,
            help="directory that keeps the models' predictions instead, for several result directories of the "
            "same inputs: what they have in common, as the model of all training examples, is trained once",
        )

        subparser.add_argument(
            "--fraction",
            type=float,
            default=0.1,
            help="how much of the training data is removed",
        )

        subparser.add_argument(
            "--groups",
            nargs="+",
            choices=GROUPS,
            default=list(GROUPS),
            help="what is removed; a matched group is random with the labels of the most positive or "
            "negative ones",
        )

        subparser.add_argument(
            "--seeds", nargs="+", type=int, default=SEEDS, help="the seeds to train with"
        )

        subparser.add_argument(
            "--retrainer",
            type=str,
            default=Retrainer.default_implementation,
            help="how to train again: 'allennlp', the whole training; 'trained-layers', the frozen layers "
            "computed once; or a JSON object with their parameters",
        )

        subparser.add_argument(
            "--processes", type=int, default=1, help="how many models to train at a time"
        )

        subparser.add_argument(
            "--max-retrainings",
            type=int,
            help="stop after so many; the same command goes on",
        )

        subparser.add_argument(
            "--max-minutes",
            type=float,
            help="begin no more after so long; the same command goes on",
        )

        for name, what in (("--train-data", "training file"), ("--input-file", "inputs")):
            subparser.add_argument(
                name,
                type=str,
                help=f"path to or url of the {what} (by default where the results' provenance says)",
            )

        subparser.add_argument(
            "-o",
            "--overrides",
            type=str,
            default="",
            help=(
                "a json(net) structure used to override the experiment configuration, e.g., "
                "'{\"iterator.batch_size\": 16}'.  Nested parameters can be specified either"
                " with nested dictionaries or with dot syntax."
            ),
        )

        add_logging_argument(subparser)

        subparser.set_defaults(func=removal_from_args)

        return subparser


@one_line_errors("allennlp removal")
def removal_from_args(args: argparse.Namespace) -> None:
    common_logging.FILE_FRIENDLY_LOGGING = args.file_friendly_logging
    results = open_results(args.results)
    reopening = Reopening(
        results,
        archive_file=args.archive_file,
        train_data=args.train_data,
        input_file=args.input_file,
    )
    measure_removal(
        results,
        retrainer_config(reopening, args.retrainer, args.overrides),
        args.serialization_dir,
        models_dir=args.models_dir,
        fraction=args.fraction,
        groups=args.groups,
        seeds=args.seeds,
        processes=args.processes,
        max_retrainings=args.max_retrainings,
        max_minutes=args.max_minutes,
    )


def retrainer_config(
    reopening: Reopening, retrainer: str = Retrainer.default_implementation, overrides: str = ""
) -> Dict[str, Any]:
    """
    What `make_retrainer` makes the retrainer of a result directory's classifier of.

    # Parameters

    reopening : `Reopening`
        Says where archive (or training configuration), training file and inputs are.
    retrainer : `str`, optional
        A registered name, or a JSON object with it as `type`.
    overrides : `str`, optional (default = `""`)
        Of the configuration; by default those of the result directory.
    """
    config = {"type": retrainer}
    if retrainer.lstrip().startswith("{"):
        try:
            config = json.loads(retrainer)
        except json.JSONDecodeError as error:
            raise ConfigurationError(
                f"--retrainer {retrainer!r} is not JSON ({error}); it is the name of a retrainer, or an object like "
                '{"type": "trained-layers"}'
            ) from error
    if config.get("type") == "trained-layers":  # where all processes find the frozen layers' outputs
        config.setdefault("cache_dir", default_cache_dir())
    return {
        **config,
        "archive_file": reopening.archive_file,
        "train_data": reopening.train_data,
        "input_file": reopening.input_file,
        "overrides": overrides or reopening.inputs["overrides"],
    }


def measure_removal(
    results: Results,
    config: Dict[str, Any],
    serialization_dir: str,
    *,
    models_dir: Optional[str] = None,
    fraction: float = 0.1,
    groups: Sequence[str] = GROUPS,
    seeds: Sequence[int] = SEEDS,
    processes: int = 1,
    max_retrainings: Optional[int] = None,
    max_minutes: Optional[float] = None,
) -> List[Row]:
    """
    Trains again without the examples that the scores point at, as far as it is not done yet, and writes and prints the
    tables of what is done.

    # Parameters

    results : `Results`
    config : `Dict[str, Any]`
        See `retrainer_config`.
    serialization_dir : `str`
        Gets `retrainings.jsonl`, a line for each model, which a run that was stopped goes on with; `removal.json` and
        `removal.csv`, the table; `changes.csv`, what it is made of.
    models_dir : `str`, optional (default = `None`)
        Has `retrainings.jsonl` instead, for several result directories.
    fraction, groups, seeds
        See `plan`.
    processes : `int`, optional (default = `1`)
    max_retrainings : `int`, optional (default = `None`)
    max_minutes : `float`, optional (default = `None`)
        Nothing is begun after that.

    # Returns

    `List[Row]`
        The table; empty if no removal is complete yet.

    # Raises

    `ConfigurationError` naming the option, or what does not fit the results.
    """
    for name, value, least in (("processes", processes, 1), ("max-retrainings", max_retrainings, 0)):
        if value is not None and value < least:
            raise ConfigurationError(f"--{name} must be at least {least}, not {value}")
    check_seeds(seeds)
    console = Console()
    retrainer = make_retrainer(config)
    check_same_data(results, retrainer)
    labels = [example.label for example in retrainer.examples]
    removals = list(plan(results.scores, labels, seeds, fraction, groups))
    work = retrainings_of(removals)
    directory = Path(serialization_dir)
    inputs = {
        "retrainer": retrainer.fingerprint,
        "results": results.provenance["inputs"],
        "fraction": fraction,
    }
    if models_dir is None:
        of_models, depend_on = directory, inputs
    else:
        of_models, depend_on = Path(models_dir), {"retrainer": retrainer.fingerprint}
        directory.mkdir(parents=True, exist_ok=True)
    with Journal(of_models, depend_on) as journal:
        _train(work, journal, retrainer, config, processes, max_retrainings, max_minutes, console)
        explained = [retrainer.label_names.index(line["explained"]) for line in results.explanations]
        in_nats = results.provenance["inputs"]["normalisation"] is None
        scores = results.scores if in_nats else None
        changes = changes_of(removals, journal, explained, scores)
        done = sum(retraining in journal for retraining in work)
        if done < len(work):
            console.print(
                f"{done:,} of {len(work):,} models are trained; the same command goes on with the rest",
                highlight=False,
            )
        if not changes:
            return []
        bootstrap = ClusterBootstrap(len(results.explanations))
        rows = table(changes, bootstrap)
        settings = {
            "command": shlex.join(sys.argv),
            "retrainer": config,
            "results": str(results.directory),
            "inputs": inputs,
            "damping": results.provenance["damping"],
            "training_examples": len(labels),
            "removed_examples": changes[0].removed,
            "seeds": list(seeds),
            "queries": len(results.explanations),
            "models": {
                "planned": len(work),
                "trained": done,
                "seconds": sum(journal.seconds[r.key] for r in work if r in journal),
                "devices": dict(Counter(journal.devices[r.key] for r in work if r in journal)),
            },
            "bootstrap": {
                "resamples": bootstrap.resamples,
                "level": bootstrap.level,
                "seed": bootstrap.seed,
            },
        }
        write_removal(directory, rows, changes, results.explanations, settings)
    share = f"{changes[0].removed:,} of {len(labels):,} training examples"
    print_removal(rows, share, bootstrap.level, console)
    console.print(Text(f"The table is in {directory / SUMMARY_CSV}."), soft_wrap=True)
    return rows


def _train(
    work: Sequence[Retraining],
    journal: Journal,
    retrainer: Retrainer,
    config: Dict[str, Any],
    processes: int,
    max_retrainings: Optional[int],
    max_minutes: Optional[float],
    console: Console,
) -> None:
    missing = [retraining for retraining in work if retraining not in journal]
    console.print(
        f"{len(work):,} models to train, {len(work) - len(missing):,} of them done", highlight=False
    )
    missing = list(islice(missing, max_retrainings))
    max_seconds = None if max_minutes is None else 60 * max_minutes
    trained = retrain(
        missing, journal, retrainer, config, processes=processes, max_seconds=max_seconds
    )
    with Tqdm.tqdm(total=len(missing), desc="models", disable=not missing) as progress:
        for number, seconds in enumerate(trained):
            progress.update()
            if number == 0 and len(missing) > 1:
                minutes = seconds * (len(missing) - 1) / processes / 60
                progress.write(
                    f"A model takes {seconds:.1f} seconds: expect {_duration(minutes)} for the others"
                )


def _duration(minutes: float) -> str:
    if minutes < 1.5:
        return "a minute or less"
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
