"""
The `artifacts` subcommand measures how strongly predictions lean on artifacts of the training data: whether training
examples that have them are where influence is strong.
"""

import argparse
import copy
import json
import shlex
import sys
from pathlib import Path
from typing import Any, Sequence

from allennlp.commands.subcommand import Subcommand
from allennlp.common import Params
from allennlp.common import logging as common_logging
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict
from rich.console import Console
from rich.text import Text

import allennlp_influence
from allennlp_influence.analysis.artifacts import (
    analyse,
    group_name,
    groups_of,
    training_examples,
)
from allennlp_influence.analysis.features import ArtifactFeature
from allennlp_influence.analysis.word_search import search_words
from allennlp_influence.commands.arguments import add_logging_argument
from allennlp_influence.commands.errors import one_line_errors
from allennlp_influence.commands.outputs import new_directory
from allennlp_influence.influence.reading import one_line
from allennlp_influence.influence.results import open_results
from allennlp_influence.report import write_report
from allennlp_influence.report.artifact_figures import draw_scatters, draw_summary
from allennlp_influence.report.artifact_files import (
    artifact_content,
    word_rows,
    write_artifact_files,
)
from allennlp_influence.report.artifact_terminal import print_artifacts


@Subcommand.register("artifacts")
class ArtifactsCommand(Subcommand):
    """
    Registered as a `Subcommand` with name "artifacts".
    """

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = """Measure how strongly the predictions in a result directory of `allennlp influence`
        lean on artifacts of the training data, by a quadratic of the artifact on influence: positive if
        training examples that have it are where influence is strong."""
        subparser = parser.add_parser(
            self.name,
            description=description,
            help="Measure how strongly predictions lean on artifacts of the training data.",
        )

        subparser.add_argument(
            "results", type=str, help="path to a result directory of `allennlp influence`"
        )

        subparser.add_argument(
            "-s",
            "--serialization-dir",
            required=True,
            type=str,
            help="directory in which to save the tables and figures",
        )

        subparser.add_argument(
            "--feature",
            action="append",
            default=[],
            metavar="NAME|JSON",
            help=f"an artifact: one of {', '.join(sorted(ArtifactFeature.list_available()))}; or a JSON object with "
            'its parameters, e.g. \'{"type": "contains-words", "words": ["on a Tuesday"]}\'; or a '
            "Python function of yours, module:name. Can be given several times",
        )

        subparser.add_argument(
            "--by",
            action="append",
            default=[],
            metavar="COLUMN",
            help="average over the queries that have the same value in this column of the input file, too, "
            "e.g. heuristic; or in 'gold' or 'explained'. Can be given several times",
        )

        subparser.add_argument(
            "--search",
            action="store_true",
            help="try every word of the training data as an artifact, and report those that are "
            "significant, corrected for their number",
        )

        subparser.add_argument(
            "--min-count",
            type=int,
            default=10,
            help="search only words that so many training examples have, and so many do not",
        )

        subparser.add_argument(
            "--resamples", type=int, default=1000, help="how many resamples the intervals are from"
        )

        subparser.add_argument(
            "--seed", type=int, default=0, help="of the resamples and permutations"
        )

        subparser.add_argument(
            "--figures",
            type=int,
            default=50,
            help="draw the training examples and the curve of so many queries, the first ones",
        )

        add_logging_argument(subparser)

        subparser.set_defaults(func=artifacts_from_args)

        return subparser


@one_line_errors("allennlp artifacts")
def artifacts_from_args(args: argparse.Namespace) -> None:
    common_logging.FILE_FRIENDLY_LOGGING = args.file_friendly_logging
    measure_artifacts(
        args.results,
        args.serialization_dir,
        features=[feature_config(text) for text in args.feature],
        by=args.by,
        search=args.search,
        min_count=args.min_count,
        num_resamples=args.resamples,
        seed=args.seed,
        num_figures=args.figures,
    )


def feature_config(text: str) -> JsonDict:
    """The configuration of a feature that is given by name, as a function, or as a JSON object."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigurationError(
                f"--feature {text!r} is not JSON ({error}); it is the name of a feature, module:name of a function, "
                'or an object like {"type": "contains-words", "words": ["tuesday"]}'
            ) from error
    return {"type": "function", "function": text} if ":" in text else {"type": text}


def feature_name(config: JsonDict) -> str:
    """What a feature is called in tables: `negation`, `negation(where=xor)`, `contains-words(words=good|bad)`."""

    def text(value: Any) -> str:
        if isinstance(value, list):
            return "|".join(map(text, value))
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    parameters = [f"{name}={text(value)}" for name, value in config.items() if name != "type"]
    return str(config.get("type")) + (f"({', '.join(parameters)})" if parameters else "")


def feature_of(config: JsonDict) -> ArtifactFeature:
    """
    # Raises

    `ConfigurationError` if there is no such feature, or it can't be made with such parameters.
    """
    known = ArtifactFeature.list_available()
    if config.get("type") not in known:
        raise ConfigurationError(
            f"there is no feature {config.get('type')!r}; there is: {', '.join(sorted(known))}, and module:name of "
            "a function"
        )
    try:
        return ArtifactFeature.from_params(Params(copy.deepcopy(config)))
    except ConfigurationError as error:
        raise ConfigurationError(f"feature {feature_name(config)}: {error.message}") from error
    except (TypeError, ValueError) as error:  # a value of the wrong type
        raise ConfigurationError(f"feature {feature_name(config)}: {one_line(error)}") from error


def measure_artifacts(
    results_dir: str,
    serialization_dir: str,
    *,
    features: Sequence[JsonDict] = (),
    by: Sequence[str] = (),
    search: bool = False,
    min_count: int = 10,
    num_resamples: int = 1000,
    seed: int = 0,
    num_figures: int = 50,
) -> Path:
    """
    Fits, averages and searches, and writes tables and figures.

    # Parameters

    results_dir : `str`
    serialization_dir : `str`
        Appears when everything is in it (see the documentation for its files).
    features : `Sequence[Dict[str, Any]]`, optional (default = `()`)
        Configurations of features.
    by : `Sequence[str]`, optional (default = `()`)
        See `groups_of`.
    search : `bool`, optional (default = `False`)
    min_count : `int`, optional (default = `10`)
        See `search_words`.
    num_resamples : `int`, optional (default = `1000`)
    seed : `int`, optional (default = `0`)
    num_figures : `int`, optional (default = `50`)
        Of so many queries.

    # Returns

    `Path`
        The directory.

    # Raises

    `ConfigurationError` naming what is wrong with the results, a feature or a column.
    """
    if num_figures < 0:
        raise ConfigurationError(f"--figures is {num_figures}; expected 0 or more")
    if not features and not search:
        raise ConfigurationError("nothing is asked for: give --feature, or --search")
    console = Console()
    results = open_results(results_dir)
    groups = groups_of(results.explanations, by)
    with new_directory(serialization_dir) as directory:
        console.print(
            f"{len(results.scores):,} queries, {results.scores.shape[1]:,} training examples, {len(features)} features, "
            f"{num_resamples:,} resamples; figures of {min(num_figures, len(results.scores))} queries",
            highlight=False,
        )
        named = {feature_name(config): feature_of(config) for config in features}
        analysis = analyse(results, named, groups, num_resamples, seed)
        content = artifact_content(results.explanations, analysis)
        words = None
        if search:
            found = search_words(
                results.scores,
                training_examples(results),
                list(groups.values()),
                min_count=min_count,
                seed=seed,
            )
            words = word_rows(found, [group_name(*key) for key in groups])
        provenance = {
            "command": shlex.join(sys.argv),
            "version": allennlp_influence.__version__,
            "results": str(results_dir),
            "inputs": results.provenance["inputs"],
            "features": {feature_name(config): config for config in features},
            "resamples": num_resamples,
            "searched_min_count": min_count if search else None,
            "seed": seed,
        }
        write_artifact_files(directory, content, words, provenance)
        if features:
            draw_summary(directory, analysis)
            draw_scatters(directory, results, analysis, num_figures)
            write_report(results_dir, directory, analysis)
    print_artifacts(content, words, console)
    console.print(Text(f"\nTables and figures are in {serialization_dir}."), soft_wrap=True)
    return Path(serialization_dir)
