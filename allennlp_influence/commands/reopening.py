"""A run of `allennlp influence` taken up again from what its result directory says of it."""

import argparse
import functools
from typing import Any, List, Optional, Tuple

from allennlp.common.checks import ConfigurationError, check_for_gpu
from allennlp.common.util import JsonDict
from allennlp.data import Instance
from allennlp.interpret import InfluenceInterpreter
from allennlp.models.archival import Archive
from allennlp.predictors import Predictor

from allennlp_influence.commands.arguments import add_resource_arguments
from allennlp_influence.commands.inputs import load_archive_or_fail
from allennlp_influence.data.example import Example
from allennlp_influence.influence import InfluenceFunctions
from allennlp_influence.influence.results import Results, sha256_of_archive, sha256_of_examples
from allennlp_influence.influence.trained_parameters import trained_parameters
from allennlp_influence.predictors.inputs import local_path, read_inputs


def add_reopening_arguments(subparser: argparse.ArgumentParser) -> None:
    """The options of a command that takes a run up again: where things are now, and on which device."""
    for name, what in (
        ("--archive-file", "the archive"),
        ("--train-data", "the training file"),
        ("--input-file", "the explained inputs"),
    ):
        subparser.add_argument(
            name,
            type=str,
            help=f"path to or url of {what} (by default where the results' provenance says)",
        )

    add_resource_arguments(subparser)


def reopening_from_args(results: Results, args: argparse.Namespace) -> "Reopening":
    """With the options that `add_reopening_arguments` adds."""
    return Reopening(
        results,
        archive_file=args.archive_file,
        train_data=args.train_data,
        input_file=args.input_file,
        memory_budget=args.memory_budget,
        cache_dir=args.cache_dir,
        cuda_device=args.cuda_device,
    )


class Reopening:
    """
    The archive, the interpreter and the explained inputs of a result directory, with the settings in its provenance.
    Each is read when it is asked for, and must be what it was: by hash.

    # Parameters

    results : `Results`, required
    archive_file, train_data, input_file : `str`, optional (default = `None`)
        Where these are now, if not where the provenance says.
    memory_budget : `float`, optional (default = `8.0`)
    cache_dir : `str`, optional (default = `None`)
        See `InfluenceFunctions`.
    cuda_device : `int`, optional (default = `-1`)

    # Raises

    `ConfigurationError` (here and by the properties) naming what is missing or has changed.
    """

    def __init__(
        self,
        results: Results,
        *,
        archive_file: Optional[str] = None,
        train_data: Optional[str] = None,
        input_file: Optional[str] = None,
        memory_budget: float = 8.0,
        cache_dir: Optional[str] = None,
        cuda_device: int = -1,
    ) -> None:
        check_for_gpu(cuda_device)
        self.results = results
        try:
            self.inputs: JsonDict = results.provenance["inputs"]
            self.archive_file = archive_file or results.provenance["archive"]["path"]
            self.train_data = train_data or results.provenance["train_data"]["path"]
            self.input_file = input_file or results.provenance["input"]["path"]
            self._checkpoints: List[str] = results.provenance["checkpoints"]
        except (KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{results.directory}: its provenance does not say how it was made ({error} is missing); make it again"
            ) from error
        self._memory_budget = memory_budget
        self._cache_dir = cache_dir
        self._cuda_device = cuda_device

    @functools.cached_property
    def archive(self) -> Archive:
        """The classifier."""
        path = local_path(self.archive_file, "archive", remedy="give its place with --archive-file")
        self._compare("archive", f"the archive {self.archive_file}", sha256_of_archive(path))
        return load_archive_or_fail(
            path, cuda_device=self._cuda_device, overrides=self.inputs["overrides"]
        )

    @functools.cached_property
    def predictor(self) -> Predictor:
        """What reads the inputs."""
        return Predictor.from_archive(self.archive, "text_explainer")

    @functools.cached_property
    def interpreter(self) -> InfluenceFunctions:
        """Gives the scores of the result directory, and those of other inputs under the same settings."""
        remedy = "give its place with --train-data"
        local_path(self.train_data, "training file", remedy=remedy)
        config, frozen = self.archive.config, self.inputs["frozen"]
        own = trained_parameters(self.archive.model, config.as_dict(quiet=True)).patterns
        interpreter = InfluenceInterpreter.from_archive(
            self.archive,
            interpreter_name="influence-functions",
            train_data_path=self.train_data,
            solver=self.inputs["solver"],
            label=self.inputs["label"],
            normalisation=self.inputs["normalisation"],
            checkpoints=self._checkpoints,
            # patterns of a configuration may match nothing, those of a user not
            params_to_freeze=None if own == frozen else frozen,
            memory_budget=self._memory_budget,
            cache_dir=self._cache_dir,
            cuda_device=self._cuda_device,
        )
        self._compare(
            "train_data",
            f"the training file {self.train_data}",
            sha256_of_examples(interpreter.examples),
        )
        self._compare(
            "checkpoints",
            f"a checkpoint of {', '.join(self._checkpoints)}",
            [weights.sha256() for weights in interpreter.weights],
        )
        return interpreter

    @functools.cached_property
    def queries(self) -> List[Tuple[Instance, Example]]:
        """The explained inputs, in the order of the rows of scores."""
        local_path(self.input_file, "input file", remedy="give its place with --input-file")
        queries = list(read_inputs(self.predictor, self.input_file))
        self._compare(
            "input",
            f"the input file {self.input_file}",
            sha256_of_examples([example for _, example in queries]),
        )
        return queries

    def _compare(self, name: str, what: str, now: Any) -> None:
        if now != self.inputs[name]:
            raise ConfigurationError(
                f"{what} has changed since {self.results.directory} was made: run `allennlp influence` again"
            )
