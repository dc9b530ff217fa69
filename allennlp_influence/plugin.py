"""
The `enable` and `disable` subcommands register this package with AllenNLP for the user, so that `allennlp` itself
offers its commands in every folder. Only the console script `allennlp-influence` offers them.
"""

import argparse
from pathlib import Path
from typing import List

from allennlp.commands.subcommand import Subcommand
from allennlp.common.plugins import GLOBAL_PLUGINS_FILENAME

_PLUGIN = "allennlp_influence"


@Subcommand.register("enable")
class Enable(Subcommand):
    """
    Registered as a `Subcommand` with name "enable".
    """

    requires_plugins = False

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = f"""Add this package to {GLOBAL_PLUGINS_FILENAME}, so that `allennlp` offers its
        commands in every folder."""
        subparser = parser.add_parser(
            self.name, description=description, help="Offer these commands in `allennlp` too."
        )
        subparser.set_defaults(func=lambda args: print(enable(Path(GLOBAL_PLUGINS_FILENAME))))
        return subparser


@Subcommand.register("disable")
class Disable(Subcommand):
    """
    Registered as a `Subcommand` with name "disable".
    """

    requires_plugins = False

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = f"""Remove this package from {GLOBAL_PLUGINS_FILENAME}; other plugins stay."""
        subparser = parser.add_parser(
            self.name, description=description, help="Undo `enable`; do so before uninstalling."
        )
        subparser.set_defaults(func=lambda args: print(disable(Path(GLOBAL_PLUGINS_FILENAME))))
        return subparser


def enable(plugins_file: Path) -> str:
    """
    Adds the line of this package to a plugins file, once; other lines stay as they are.

    # Returns

    `str`
        What was done, for the user.
    """
    lines = _lines(plugins_file)
    if _PLUGIN in map(str.strip, lines):
        return f"{_PLUGIN} is in {plugins_file} already."
    plugins_file.parent.mkdir(parents=True, exist_ok=True)
    plugins_file.write_text("\n".join([*lines, _PLUGIN]) + "\n")
    return f"Added {_PLUGIN} to {plugins_file}: `allennlp` now offers its commands in every folder."


def disable(plugins_file: Path) -> str:
    """
    Removes the line of this package from a plugins file; other lines stay as they are.

    # Returns

    `str`
        What was done, for the user.
    """
    lines = _lines(plugins_file)
    others = [line for line in lines if line.strip() != _PLUGIN]
    if others == lines:
        return f"{_PLUGIN} is not in {plugins_file}: nothing to do."
    plugins_file.write_text("".join(line + "\n" for line in others))
    return f"Removed {_PLUGIN} from {plugins_file}."


def _lines(plugins_file: Path) -> List[str]:
    return plugins_file.read_text().splitlines() if plugins_file.exists() else []
