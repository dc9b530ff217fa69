"""Arguments that several commands have."""

import argparse
import json

from allennlp.common.checks import ConfigurationError

from allennlp_influence.commands.inputs import default_cache_dir
from allennlp_influence.influence.solver_config import Solver


def add_archive_arguments(subparser: argparse.ArgumentParser) -> None:
    """How an archive is loaded and its interpreter made."""
    subparser.add_argument(
        "--params-to-freeze",
        type=str,
        nargs="*",
        help="regular expressions for the parameters that training left alone (by default those "
        "of the archive's configuration; without a value: none)",
    )

    add_resource_arguments(subparser)

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


def add_checkpoints_argument(subparser: argparse.ArgumentParser, hint: str) -> None:
    """The models that are averaged over; `hint` says what for."""
    subparser.add_argument(
        "--checkpoints",
        nargs="+",
        metavar="PATH",
        help="average over these instead of the archive's weights: files of weights, archives, or serialization "
        f"directories, which stand for all checkpoints kept there ({hint})",
    )


def add_resource_arguments(subparser: argparse.ArgumentParser) -> None:
    """Where what is computed once is kept, what computes, and in how much memory."""
    subparser.add_argument(
        "--cache-dir",
        type=str,
        default=default_cache_dir(),
        help="folder that keeps what does not depend on the inputs for the next time",
    )

    subparser.add_argument("--cuda-device", type=int, default=-1, help="id of GPU to use (if any)")

    subparser.add_argument(
        "--memory-budget",
        type=float,
        default=8.0,
        metavar="GB",
        help="memory beside the model; with more of it more inputs share a pass over the training examples, and the "
        "solver gauss-newton takes more of them",
    )


def add_logging_argument(subparser: argparse.ArgumentParser) -> None:
    """As AllenNLP's own commands have it."""
    subparser.add_argument(
        "--file-friendly-logging",
        action="store_true",
        default=False,
        help="outputs tqdm status on separate lines and slows tqdm refresh rate",
    )


def solver_from_text(text: str) -> Solver:
    """The value of --solver: a name, or a JSON object."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"--solver {text!r} is not JSON ({error}); it is the name of a solver, or an object like "
            '{"type": "lissa", "damping": 30}'
        ) from error
