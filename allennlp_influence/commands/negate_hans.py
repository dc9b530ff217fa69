"""The `negate-hans` subcommand makes negated pairs of HANS's entailed ones."""

import argparse

from allennlp.commands.subcommand import Subcommand

from allennlp_influence.commands.errors import one_line_errors
from allennlp_influence.data.hans import negate_file


@Subcommand.register("negate-hans")
class NegateHans(Subcommand):
    """
    Registered as a `Subcommand` with name "negate-hans".
    """

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = """Write the entailed pairs of a HANS file with negated hypotheses ("did not"),
        labelled non-entailment: what Han et al. (2020) test the negation artifact on."""
        subparser = parser.add_parser(
            self.name, description=description, help="Negate the entailed hypotheses of HANS."
        )

        subparser.add_argument("input_file", type=str, help="a file with HANS's columns")

        subparser.add_argument("output_file", type=str, help="where the negated pairs are written")

        subparser.set_defaults(func=negate_hans_from_args)

        return subparser


@one_line_errors("allennlp negate-hans")
def negate_hans_from_args(args: argparse.Namespace) -> None:
    number = negate_file(args.input_file, args.output_file)
    print(f"{number} negated pairs are in {args.output_file}")
