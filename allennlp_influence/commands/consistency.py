"""
The `consistency` subcommand asks whether saliency and influence agree: whether training examples with a salient token
of the input are more influential, and whether others become influential when that token is masked.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import List

from allennlp.commands.subcommand import Subcommand
from allennlp.common import logging as common_logging
from allennlp.common.checks import ConfigurationError
from allennlp.data.fields import TextField
from rich.console import Console
from rich.text import Text

from allennlp_influence.analysis.clusters import ClusterBootstrap
from allennlp_influence.analysis.consistency import Row, table, token_results
from allennlp_influence.analysis.consistency_files import SUMMARY_CSV, write_consistency
from allennlp_influence.analysis.masked_queries import (
    MaskedQuery,
    by_position,
    explain_masked,
    masked_queries,
)
from allennlp_influence.analysis.salient_tokens import CHOICES, salient_tokens, token_types
from allennlp_influence.commands.arguments import add_logging_argument
from allennlp_influence.commands.errors import one_line_errors
from allennlp_influence.commands.reopening import (
    Reopening,
    add_reopening_arguments,
    reopening_from_args,
)
from allennlp_influence.influence.results import ResultWriter, Results, open_results
from allennlp_influence.report.consistency import print_consistency

_MASKED = "masked"


@Subcommand.register("consistency")
class ConsistencyCommand(Subcommand):
    """
    Registered as a `Subcommand` with name "consistency".
    """

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = """Ask whether saliency and influence agree on what mattered to the predictions
        in a result directory of `allennlp influence`: are training examples with a salient token more
        influential, and do others become influential when it is masked?"""
        subparser = parser.add_parser(
            self.name,
            description=description,
            help="Ask whether saliency and influence agree on what mattered.",
        )

        subparser.add_argument(
            "results", type=str, help="path to a result directory of `allennlp influence`"
        )

        subparser.add_argument(
            "-s",
            "--serialization-dir",
            required=True,
            type=str,
            help="directory in which to save the tables; a run that was stopped is resumed",
        )

        subparser.add_argument(
            "--whole-words",
            action="store_true",
            help="choose, look for and mask words with all their pieces; by default first pieces alone, as "
            "the paper does",
        )

        add_reopening_arguments(subparser)

        add_logging_argument(subparser)

        subparser.set_defaults(func=consistency_from_args)

        return subparser


@one_line_errors("allennlp consistency")
def consistency_from_args(args: argparse.Namespace) -> None:
    common_logging.FILE_FRIENDLY_LOGGING = args.file_friendly_logging
    reopening = reopening_from_args(open_results(args.results), args)
    measure_consistency(reopening, args.serialization_dir, whole_words=args.whole_words)


def measure_consistency(
    reopening: Reopening, serialization_dir: str, *, whole_words: bool = False
) -> List[Row]:
    """
    Explains the inputs of a result directory without their salient tokens, and writes and prints the tables.

    # Parameters

    reopening : `Reopening`
        Of the result directory.
    serialization_dir : `str`
        Gets `masked/`, the scores of the masked inputs, which a run that was stopped goes on with; `consistency.json`
        and `consistency.csv`, the table; `tokens.csv`, what it is made of.
    whole_words : `bool`, optional (default = `False`)
        See `candidate_tokens`.

    # Returns

    `List[Row]`
        The table.

    # Raises

    `ConfigurationError` if the archive, the training data or the inputs are not what they were, or nothing can be
    masked.
    """
    console = Console()
    results, directory = reopening.results, Path(serialization_dir)
    explanations = results.explanations
    tokens = [
        salient_tokens(line["saliency"], whole_words=whole_words) for line in explanations
    ]
    left_out = [line["id"] for line, chosen in zip(explanations, tokens) if not chosen]
    if len(left_out) == len(explanations):
        raise ConfigurationError(
            f"no input of {results.directory} has two tokens with a saliency: there is nothing to compare"
        )
    interpreter = reopening.interpreter
    instances = [instance for instance, _ in reopening.queries]
    queries = masked_queries(interpreter, instances, explanations, tokens)
    masked = _masked_results(reopening, queries, directory / _MASKED, console)
    training_types = [
        token_types(
            [str(t) for f in instance.fields.values() if isinstance(f, TextField) for t in f.tokens],
            whole_words,
        )
        for instance in interpreter.instances
    ]
    training_labels = [interpreter.label_names[label] for label in interpreter.training_labels]
    found = list(
        token_results(
            results.scores,
            explanations,
            tokens,
            training_types,
            training_labels,
            by_position(masked.explanations, masked.scores),
        )
    )
    bootstrap = ClusterBootstrap(len(explanations))
    rows = table(found, bootstrap)
    unsolved = sum(not line["converged"] for line in masked.explanations)
    settings = {
        "command": shlex.join(sys.argv),
        "results": str(results.directory),
        "inputs": results.provenance["inputs"],
        "damping": interpreter.solver.damping,
        "whole_words": whole_words,
        "queries": len(explanations),
        "queries_left_out": left_out,
        "masked_inputs": len(queries),
        "masked_inputs_not_solved": unsolved,
        "bootstrap": {
            "resamples": bootstrap.resamples,
            "level": bootstrap.level,
            "seed": bootstrap.seed,
        },
    }
    write_consistency(directory, rows, found, explanations, settings)
    print_consistency(rows, CHOICES, bootstrap.level, console)
    for number, what in (
        (len(left_out), "inputs have no two tokens with a saliency, and are left out"),
        (unsolved, "masked inputs' systems are not solved to the solver's tolerance"),
    ):
        if number:
            console.print(f"{number} {what}", style="dark_orange", highlight=False)
    console.print(Text(f"The table is in {directory / SUMMARY_CSV}."), soft_wrap=True)
    return rows


def _masked_results(
    reopening: Reopening, queries: List[MaskedQuery], directory: Path, console: Console
) -> Results:
    """The masked inputs explained, as a result directory of their own."""
    interpreter, results = reopening.interpreter, reopening.results
    with ResultWriter(
        directory,
        {
            **{name: value for name, value in reopening.inputs.items() if name != "top_k"},
            "masked": [[query.row, query.positions, query.explained] for query in queries],
        },
        [results.query_ids[query.row] for query in queries],
        results.train_ids,
    ) as writer:
        if not writer.complete:
            blocks = -(-(len(queries) - writer.num_done) // interpreter.queries_at_once)
            minutes = interpreter.expected_seconds(blocks) / 60 if blocks else 0.0
            console.print(
                f"{len(queries)} masked inputs, {writer.num_done} of them done; {blocks} blocks of up to "
                f"{interpreter.queries_at_once}: expect "
                f"{f'{minutes:.0f} minutes' if minutes >= 1.5 else 'a minute or less'} for the solver",
                highlight=False,
            )
            explain_masked(interpreter, queries, writer)
            writer.finish({"command": shlex.join(sys.argv)})
            writer.publish()
    return open_results(directory)
