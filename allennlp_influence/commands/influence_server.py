"""
The `influence-server` subcommand serves a classifier to browsers and programs: predictions, and which words and which
training examples carried them.
"""

import argparse
import json
from typing import List, Optional

from allennlp.commands.subcommand import Subcommand
from allennlp.common.checks import ConfigurationError, check_for_gpu
from allennlp.interpret import InfluenceInterpreter
from allennlp.predictors import Predictor

from allennlp_influence.commands.arguments import add_archive_arguments, solver_from_text
from allennlp_influence.commands.errors import one_line_errors
from allennlp_influence.commands.inputs import load_archive_or_fail
from allennlp_influence.influence.solver_config import DEFAULT_SOLVER, Solver
from allennlp_influence.predictors.inputs import local_path
from allennlp_influence.server import InfluenceEndpoint, ServedModel, name_of

# the curvature of fewer examples than the default, so that a query takes about three seconds
_SOLVER = {**DEFAULT_SOLVER, "num_examples": 1000}


@Subcommand.register("influence-server")
class InfluenceServer(Subcommand):
    """
    Registered as a `Subcommand` with name "influence-server".
    """

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = """Serve a trained classifier: a page on which to type a text and see the
        prediction, the words and the training examples that carried it, and the same as JSON in the
        manner of AllenNLP's demo."""
        subparser = parser.add_parser(
            self.name,
            description=description,
            help="Serve predictions and their explanations to a browser.",
        )

        subparser.add_argument("archive_file", type=str, help="path to an archived trained model")

        subparser.add_argument(
            "--train-data",
            type=str,
            help="the training file (by default the one in the archive's configuration)",
        )

        subparser.add_argument(
            "--solver",
            type=str,
            default=json.dumps(_SOLVER),
            help="how the inverse curvature is applied: the name of a solver, or a JSON object with "
            f"its parameters (by default {json.dumps(_SOLVER)})",
        )

        subparser.add_argument(
            "--top-k",
            type=int,
            default=20,
            help="how many supporting and opposing training examples to list",
        )

        add_archive_arguments(subparser)

        subparser.add_argument(
            "--keep-gradients",
            type=float,
            default=8.0,
            metavar="GB",
            help="keep the training gradients in the cache folder if they take no more than this: a "
            "query then takes a fraction of the time",
        )

        subparser.add_argument(
            "--host",
            type=str,
            default="127.0.0.1",
            help="the address to listen at; others than the default may let other machines in, "
            "which the server does not ask for a password",
        )

        subparser.add_argument("--port", type=int, default=8000, help="the port to listen at")

        subparser.set_defaults(func=serve_from_args)

        return subparser


@one_line_errors("allennlp influence-server")
def serve_from_args(args: argparse.Namespace) -> None:
    serve_archive(
        archive_file=args.archive_file,
        train_data=args.train_data,
        solver=solver_from_text(args.solver),
        top_k=args.top_k,
        params_to_freeze=args.params_to_freeze,
        memory_budget=args.memory_budget,
        cache_dir=args.cache_dir,
        keep_gradients=args.keep_gradients,
        host=args.host,
        port=args.port,
        cuda_device=args.cuda_device,
        overrides=args.overrides,
    )


def serve_archive(
    archive_file: str,
    *,
    train_data: Optional[str] = None,
    solver: Solver = _SOLVER,
    top_k: int = 20,
    params_to_freeze: Optional[List[str]] = None,
    memory_budget: float = 8.0,
    cache_dir: Optional[str] = None,
    keep_gradients: float = 8.0,
    host: str = "127.0.0.1",
    port: int = 8000,
    cuda_device: int = -1,
    overrides: str = "",
) -> None:
    """
    Serves until SIGINT or SIGTERM. The parameters are those of the command.

    # Raises

    `ConfigurationError` naming what is wrong with the archive, the data or an option.
    """
    if top_k < 1:
        raise ConfigurationError(f"--top-k must be at least 1, not {top_k}")
    check_for_gpu(cuda_device)
    archive_path = local_path(archive_file, "archive")
    archive = load_archive_or_fail(archive_path, cuda_device=cuda_device, overrides=overrides)
    train_data = train_data or archive.config.get("train_data_path")
    local_path(train_data, "training file", remedy="give it with --train-data")
    model = ServedModel(name_of(archive_file), archive_file, overrides=overrides or None)
    influence = InfluenceInterpreter.from_archive(
        archive,
        interpreter_name="influence-functions",
        train_data_path=train_data,
        solver=solver,
        params_to_freeze=params_to_freeze,
        memory_budget=memory_budget,
        cache_dir=cache_dir,
        cuda_device=cuda_device,
    )
    predictor = Predictor.from_archive(archive, model.predictor_name)
    InfluenceEndpoint(model, predictor, influence, top_k, keep_gradients).run(port, host)
