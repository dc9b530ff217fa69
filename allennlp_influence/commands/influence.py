"""
The `influence` subcommand shows which training examples, and which words, carried a classifier's predictions:
a result directory with every score, and a page to read.
"""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

import torch
from allennlp.commands.subcommand import Subcommand
from allennlp.common import Tqdm
from allennlp.common import logging as common_logging
from allennlp.common.checks import ConfigurationError, check_for_gpu
from allennlp.common.util import JsonDict
from allennlp.data import Instance
from allennlp.interpret import InfluenceInterpreter
from allennlp.models import Model
from allennlp.predictors import Predictor
from rich.console import Console
from rich.text import Text

from allennlp_influence.analysis.chosen_damping import AUTO, Choice
from allennlp_influence.commands.arguments import (
    add_archive_arguments,
    add_checkpoints_argument,
    add_logging_argument,
    solver_from_text,
)
from allennlp_influence.commands.errors import one_line_errors
from allennlp_influence.commands.inputs import default_cache_dir, load_archive_or_fail
from allennlp_influence.commands.provenance import provenance_of
from allennlp_influence.data.example import Example
from allennlp_influence.engine import PRECISIONS, matmul_precision, ranks
from allennlp_influence.engine.normalisation import NORMALISATIONS
from allennlp_influence.influence import InfluenceExplanation, InfluenceFunctions
from allennlp_influence.influence.checkpoints import kept_in
from allennlp_influence.influence.in_json import diagnosis_in_json, influences_in_json
from allennlp_influence.influence.results import ResultWriter, sha256_of_archive, sha256_of_examples
from allennlp_influence.influence.solver_config import (
    DEFAULT_SOLVER,
    WHY_DEFAULT,
    Solver,
    complete_solver_config,
)
from allennlp_influence.influence.training_examples import training_lines
from allennlp_influence.predictors.inputs import local_path, read_inputs
from allennlp_influence.report import print_summary, write_report
from allennlp_influence.saliency import Saliency, token_saliency


@Subcommand.register("influence")
class InfluenceCommand(Subcommand):
    """
    Registered as a `Subcommand` with name "influence".
    """

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = """Show which training examples and which words carried the predictions of
        a trained classifier (influence functions)."""
        subparser = parser.add_parser(
            self.name,
            description=description,
            help="Show which training examples carried a prediction.",
        )

        subparser.add_argument("archive_file", type=str, help="path to an archived trained model")

        subparser.add_argument(
            "input_file",
            type=str,
            help="path to or url of the inputs: a data file as the model's validation dataset "
            "reader reads it, or JSON lines (.jsonl, .json) with the keys of the predictor, "
            "'sentence' or 'premise' and 'hypothesis'",
        )

        subparser.add_argument(
            "-s",
            "--serialization-dir",
            required=True,
            type=str,
            help="directory in which to save the results; a run that was stopped is resumed",
        )

        subparser.add_argument(
            "--train-data",
            type=str,
            help="the training file (by default the one in the archive's configuration)",
        )

        subparser.add_argument(
            "--solver",
            type=str,
            default=json.dumps(DEFAULT_SOLVER),
            help="how the inverse curvature is applied: the name of a solver, or a JSON object with "
            'its parameters, e.g. \'{"type": "lissa", "damping": 30}\' (by default '
            f"{json.dumps(DEFAULT_SOLVER)})",
        )

        subparser.add_argument(
            "--damping",
            type=str,
            metavar="λ",
            help="in place of the solver's: a number, or 'auto', what `allennlp validate-influence "
            "--choose` has found best for this archive",
        )

        subparser.add_argument(
            "--label",
            type=str,
            default="predicted",
            help="the label to explain: 'predicted', 'gold', or the name of one",
        )

        subparser.add_argument(
            "--normalisation",
            choices=NORMALISATIONS,
            help="scores relative to the training example's own strength instead of nats of loss: "
            "'relatif' (Barshan et al. 2020), or 'cosine', relative to the input's too",
        )

        add_checkpoints_argument(subparser, "with --solver identity: TracIn")

        subparser.add_argument(
            "--top-k",
            type=int,
            default=10,
            help="how many supporting and opposing training examples to list for each input",
        )

        subparser.add_argument(
            "--token-attribution",
            action="store_true",
            default=False,
            help="of every training example that is listed, say which words made it influential",
        )

        add_archive_arguments(subparser)

        subparser.add_argument(
            "--matmul-precision",
            choices=PRECISIONS,
            default=PRECISIONS[0],
            help="of products of float32 matrices: 'high' (TF32) and 'medium' (bfloat16) are faster where the device "
            "has them; the agreement of the scores with float32 is measured",
        )

        add_logging_argument(subparser)

        subparser.set_defaults(func=influence_from_args)

        return subparser


@one_line_errors("allennlp influence")
def influence_from_args(args: argparse.Namespace) -> None:
    common_logging.FILE_FRIENDLY_LOGGING = args.file_friendly_logging
    with matmul_precision(args.matmul_precision):
        explain_archive(
            archive_file=args.archive_file,
            input_file=args.input_file,
            serialization_dir=args.serialization_dir,
            train_data=args.train_data,
            solver=solver_from_text(args.solver),
            damping=damping_from_text(args.damping),
            label=args.label,
            normalisation=args.normalisation,
            checkpoints=args.checkpoints,
            top_k=args.top_k,
            token_attribution=args.token_attribution,
            params_to_freeze=args.params_to_freeze,
            memory_budget=args.memory_budget,
            cache_dir=args.cache_dir,
            cuda_device=args.cuda_device,
            overrides=args.overrides,
        )


def damping_from_text(text: Optional[str]) -> Union[float, str, None]:
    """The value of --damping: a number, or `auto`."""
    if text is None or text == AUTO:
        return text
    try:
        return float(text)
    except ValueError as error:
        raise ConfigurationError(f"--damping {text!r} is neither a number nor {AUTO!r}") from error


def explain_archive(
    archive_file: str,
    input_file: str,
    serialization_dir: str,
    *,
    train_data: Optional[str] = None,
    solver: Solver = DEFAULT_SOLVER,
    damping: Union[float, str, None] = None,
    label: str = "predicted",
    normalisation: Optional[str] = None,
    checkpoints: Optional[List[str]] = None,
    top_k: int = 10,
    token_attribution: bool = False,
    params_to_freeze: Optional[List[str]] = None,
    memory_budget: float = 8.0,
    cache_dir: Optional[str] = None,
    cuda_device: int = -1,
    overrides: str = "",
) -> Path:
    """
    Explains every input and writes the result directory (see the documentation for its files). Matrices are multiplied
    as precisely as torch is set to, see `matmul_precision`.

    # Parameters

    archive_file : `str`
    input_file : `str`
        Read by the predictor if it is JSON lines with its keys, by the archive's validation reader otherwise.
    serialization_dir : `str`
        Appears when everything is in it; until then it is `serialization_dir.part`, from which a run that was
        stopped goes on.
    train_data : `str`, optional (default = `None`)
    solver : `Union[str, Dict[str, Any]]`, optional (default = `DEFAULT_SOLVER`)
    damping : `Union[float, str]`, optional (default = `None`)
        Takes the place of the solver's; `auto` is what was chosen for this archive, see `Choice`.
    label : `str`, optional (default = `"predicted"`)
    normalisation : `str`, optional (default = `None`)
    checkpoints : `List[str]`, optional (default = `None`)
        See `InfluenceFunctions`.
    top_k : `int`, optional (default = `10`)
    token_attribution : `bool`, optional (default = `False`)
        The interpreter's `attribute_tokens`.
    params_to_freeze : `List[str]`, optional (default = `None`)
    memory_budget : `float`, optional (default = `8.0`)
    cache_dir : `str`, optional (default = `None`)
        See `InfluenceFunctions`.
    cuda_device : `int`, optional (default = `-1`)
    overrides : `str`, optional (default = `""`)

    # Returns

    `Path`
        The result directory.

    # Raises

    `ConfigurationError` naming what is wrong with the archive, the data or an option.
    """
    if top_k < 1:
        raise ConfigurationError(f"--top-k must be at least 1, not {top_k}")
    check_for_gpu(cuda_device)
    start = time.perf_counter()
    console = Console()
    local_path(input_file, "input file")  # before the model is loaded
    archive_path = local_path(archive_file, "archive")
    choice = None
    by_default = damping is None and solver == DEFAULT_SOLVER
    if damping == AUTO:
        sha256 = sha256_of_archive(archive_path)
        choice = Choice(cache_dir or default_cache_dir(), sha256, solver, checkpoints is not None)
        solver = choice.solver
    elif damping is not None:
        solver = {**complete_solver_config(solver), "damping": damping}
    archive = load_archive_or_fail(archive_path, cuda_device=cuda_device, overrides=overrides)
    train_data = train_data or archive.config.get("train_data_path")
    local_path(train_data, "training file", remedy="give it with --train-data")
    predictor = Predictor.from_archive(archive, "text_explainer")
    queries = list(read_inputs(predictor, input_file))
    if not queries:
        raise ConfigurationError(f"there is nothing to explain in {input_file}")
    interpreter = InfluenceInterpreter.from_archive(
        archive,
        interpreter_name="influence-functions",
        train_data_path=train_data,
        solver=solver,
        label=label,
        normalisation=normalisation,
        checkpoints=checkpoints,
        attribute_tokens=token_attribution,
        params_to_freeze=params_to_freeze,
        memory_budget=memory_budget,
        cache_dir=cache_dir,
        cuda_device=cuda_device,
    )
    if choice is not None:
        choice.check(interpreter.examples)
    # what is wrong so far is said before there is a directory
    names = [f"example {example.id} of {input_file}" for _, example in queries]
    interpreter.check_labels([instance for instance, _ in queries], names)
    ranks.start()  # not before everything is read: AllenNLP's readers would give each process a part of the data
    if ranks.rank() > 0:
        _help_explaining(interpreter, queries, names)
        return Path(serialization_dir)
    if choice is not None:
        console.print(choice.text, highlight=False, soft_wrap=True)
    elif by_default:
        console.print(f"solver and damping are the defaults, which {WHY_DEFAULT}", soft_wrap=True)
    with ResultWriter(
        serialization_dir,
        {
            "archive": sha256_of_archive(archive_path),
            "overrides": overrides,
            "train_data": sha256_of_examples(interpreter.examples),
            "input": sha256_of_examples([example for _, example in queries]),
            "solver": interpreter.solver_config,
            "label": label,
            "normalisation": normalisation,
            "checkpoints": [weights.sha256() for weights in interpreter.weights],
            "top_k": top_k,
            "token_attribution": token_attribution,
            "matmul_precision": torch.get_float32_matmul_precision(),
            "frozen": interpreter.trained.patterns,
        },
        [example.id for _, example in queries],
        [example.id for example in interpreter.examples],
    ) as writer:
        if writer.complete:
            ranks.said_by_the_first(None)
            console.print(Text(f"{serialization_dir} is complete already."), soft_wrap=True)
        else:
            try:
                seconds = _explain(interpreter, queries, names, writer, top_k, console)
                # after the queries, for which the solver has prepared what self-influence needs too
                missing = not writer.has_training_examples
                ranks.said_by_the_first(missing and interpreter.no_self_influence is None)
                if missing:
                    writer.add_training_examples(training_lines(interpreter))
            except ranks.RankLostError:
                raise
            except ConfigurationError:
                writer.discard()  # going on from there would end the same way
                raise
            provenance = {
                "command": shlex.join(sys.argv),
                "archive": {"path": archive_file},
                "train_data": {"path": str(train_data), "examples": len(interpreter.examples)},
                "input": {"path": input_file, "examples": len(queries)},
                "damping_chosen_by": {"by": "default" if by_default else "user"}
                if choice is None
                else {"by": "validate-influence", **choice.chosen},
                **provenance_of(interpreter, queries, writer, time.perf_counter() - start, seconds),
            }
            writer.finish(provenance)
            write_report(writer.part, named=serialization_dir)
            writer.publish()
    print_summary(serialization_dir, console)
    kept = kept_in(Path(archive_file).parent)
    if checkpoints is None and len(kept) > 1:
        console.print(
            Text(
                f"Training has kept {len(kept)} checkpoints beside the archive: --checkpoints {Path(archive_file).parent} "
                f"averages over them, which predicts retraining better, in {len(kept)} times the time."
            ),
            soft_wrap=True,
        )
    return Path(serialization_dir)


def _explain(
    interpreter: InfluenceFunctions,
    queries: Sequence[Tuple[Instance, Example]],
    names: Sequence[str],
    writer: ResultWriter,
    top_k: int,
    console: Console,
) -> float:
    """Explains what is not written yet; seconds spent on saliency."""
    objective = interpreter.objective
    frozen = sum(p.numel() for p in interpreter.model.parameters()) - objective.space.size
    console.print(
        f"{objective.space.size:,} trained parameters in {len(objective.parameters)} tensors, {frozen:,} "
        f"frozen or unused; {len(interpreter.examples):,} training examples; damping λ = "
        f"{interpreter.solver.damping:g}",
        highlight=False,
    )
    block = interpreter.queries_at_once
    if writer.num_done < len(queries):
        # blocks stay what they were, so do the bits
        writer.truncate(writer.num_done // block * block)
    ranks.said_by_the_first(writer.num_done)
    if writer.num_done:
        console.print(f"resumed after {writer.num_done} of {len(queries)} inputs")
    interpreter.training_set  # with a progress bar of its own
    blocks = -(-(len(queries) - writer.num_done) // block)
    if blocks:
        seconds = interpreter.expected_seconds(blocks)
        console.print(
            f"{blocks} blocks of up to {block} inputs: expect "
            f"{_minutes(seconds)} for the solver",
            highlight=False,
        )
        if interpreter.attribute_tokens:
            listed = 2 * top_k * (len(queries) - writer.num_done)
            seconds = interpreter.expected_attribution_seconds(listed)
            console.print(
                f"words of {listed:,} listed training examples: expect {_minutes(seconds)}",
                highlight=False,
            )
    seconds = 0.0
    with Tqdm.tqdm(total=len(queries), initial=writer.num_done, desc="inputs") as progress:
        for begin in range(writer.num_done, len(queries), block):
            part = queries[begin : begin + block]
            instances = [instance for instance, _ in part]
            explanations = list(interpreter.explain(instances, top_k, names[begin : begin + block]))
            start = time.perf_counter()
            saliencies = _saliencies(
                interpreter.model, instances, [explained.explained for explained in explanations]
            )
            seconds += time.perf_counter() - start
            for (_, example), explanation, saliency in zip(part, explanations, saliencies):
                line = line_of(interpreter, example, explanation, saliency)
                writer.add(line, explanation.scores)
            progress.update(len(part))
    return seconds


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else "a minute or less"


def _help_explaining(
    interpreter: InfluenceFunctions,
    queries: Sequence[Tuple[Instance, Example]],
    names: Sequence[str],
) -> None:
    """This process's part of the work on what the first one writes."""
    instances = [instance for instance, _ in queries]
    block = interpreter.queries_at_once
    done = ranks.said_by_the_first(None)
    if done is None:
        return
    for begin in range(done, len(queries), block):
        part = slice(begin, begin + block)
        list(interpreter.explain(instances[part], 0, names[part]))
    if ranks.said_by_the_first(None):
        interpreter.self_influence


def _saliencies(
    model: Model, instances: Sequence[Instance], labels: Sequence[str]
) -> List[Optional[Saliency]]:
    """`None` for an input that the influence of training examples can be computed for, but not this."""
    try:
        return list(token_saliency(model, instances, labels))
    except ConfigurationError:
        if len(instances) == 1:
            return [None]
        pairs = zip(instances, labels)
        return [s for instance, label in pairs for s in _saliencies(model, [instance], [label])]


def line_of(
    interpreter: InfluenceFunctions,
    example: Example,
    explanation: InfluenceExplanation,
    saliency: Optional[Saliency],
) -> JsonDict:
    """A line of explanations.jsonl."""
    return {
        "id": example.id,
        "text": example.text,
        "columns": example.columns,
        "gold": example.label,
        "predicted": explanation.predicted,
        "explained": explanation.explained,
        "labels": explanation.labels,
        "probabilities": explanation.probabilities,
        "loss": explanation.loss,
        "saliency": None if saliency is None else saliency.to_json(),
        "mean": float(explanation.scores.mean(dtype="float64")),
        "std": float(explanation.scores.std(dtype="float64")),
        "supporters": influences_in_json(explanation.top_k, interpreter.examples),
        "opponents": influences_in_json(explanation.bottom_k, interpreter.examples),
        "diagnosis": diagnosis_in_json(explanation.diagnosis),
    }
