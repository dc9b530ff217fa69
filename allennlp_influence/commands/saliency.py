"""
The `saliency` subcommand shows which words of an input carried a classifier's prediction:
signed gradient × input, as jsonl and as coloured text in the terminal.
"""

import argparse
import json
import os
import sys
from contextlib import contextmanager
from typing import IO, Iterable, Iterator, Optional, Tuple

from allennlp.commands.subcommand import Subcommand
from allennlp.common import Tqdm
from allennlp.common import logging as common_logging
from allennlp.common.checks import ConfigurationError, check_for_gpu
from allennlp.common.util import JsonDict, lazy_groups_of
from allennlp.data import Instance
from allennlp.models.archival import load_archive
from allennlp.predictors import Predictor
from rich.console import Console
from rich.text import Text

from allennlp_influence.commands.arguments import add_logging_argument
from allennlp_influence.commands.errors import one_line_errors
from allennlp_influence.data.example import Example
from allennlp_influence.predictors.inputs import local_path, read_inputs
from allennlp_influence.saliency import GradientXInput, Saliency, Word


@Subcommand.register("saliency")
class SaliencyCommand(Subcommand):
    """
    Registered as a `Subcommand` with name "saliency".
    """

    def add_subparser(self, parser: argparse._SubParsersAction) -> argparse.ArgumentParser:
        description = """Show which words of each input carried the prediction of a trained
        classifier (signed gradient x input)."""
        subparser = parser.add_parser(
            self.name, description=description, help="Show which words carried a prediction."
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
            "--output-file", type=str, help="path to output file, JSON lines, one for each input"
        )

        subparser.add_argument(
            "--label",
            type=str,
            default="predicted",
            help="the label to explain: 'predicted', 'gold', or the name of one",
        )

        subparser.add_argument(
            "--weights-file", type=str, help="a path that overrides which weights file to use"
        )

        subparser.add_argument(
            "--batch-size", type=int, default=32, help="The batch size to use for processing"
        )

        subparser.add_argument(
            "--silent", action="store_true", help="do not print output to stdout"
        )

        subparser.add_argument(
            "--cuda-device", type=int, default=-1, help="id of GPU to use (if any)"
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

        subparser.add_argument(
            "--predictor",
            type=str,
            default="text_explainer",
            help="optionally specify a specific predictor to use",
        )

        add_logging_argument(subparser)

        subparser.set_defaults(func=saliency_from_args)

        return subparser


@one_line_errors("allennlp saliency")
def saliency_from_args(args: argparse.Namespace) -> None:
    common_logging.FILE_FRIENDLY_LOGGING = args.file_friendly_logging

    if args.silent and not args.output_file:
        sys.exit("allennlp saliency: --silent without --output-file leaves nothing to do.")
    saliency_from_archive(
        archive_file=args.archive_file,
        input_file=args.input_file,
        output_file=args.output_file,
        label=args.label,
        weights_file=args.weights_file,
        batch_size=args.batch_size,
        console=None if args.silent else Console(),
        cuda_device=args.cuda_device,
        overrides=args.overrides,
        predictor_name=args.predictor,
    )


def saliency_from_archive(
    archive_file: str,
    input_file: str,
    output_file: Optional[str] = None,
    *,
    label: str = "predicted",
    weights_file: Optional[str] = None,
    batch_size: int = 32,
    console: Optional[Console] = None,
    cuda_device: int = -1,
    overrides: str = "",
    predictor_name: str = "text_explainer",
) -> None:
    """
    # Parameters

    archive_file : `str`
    input_file : `str`
        See `read_inputs`.
    output_file : `str`, optional (default = `None`)
        Is written as a whole or, on an error, not at all.
    label : `str`, optional (default = `"predicted"`)
        The label to explain: `"predicted"`, `"gold"`, or the name of one.
    weights_file : `str`, optional (default = `None`)
    batch_size : `int`, optional (default = `32`)
    console : `Console`, optional (default = `None`)
        Where to show the words; nowhere if `None`.
    cuda_device : `int`, optional (default = `-1`)
    overrides : `str`, optional (default = `""`)
    predictor_name : `str`, optional (default = `"text_explainer"`)

    # Raises

    `ConfigurationError` naming what is wrong with the archive, the input or an option.
    """
    if batch_size < 1:
        raise ConfigurationError(f"--batch-size must be at least 1, not {batch_size}.")
    check_for_gpu(cuda_device)
    local_path(input_file, "input file")  # before the model is loaded
    archive = load_archive(
        local_path(archive_file, "archive"),
        weights_file=weights_file,
        cuda_device=cuda_device,
        overrides=overrides,
    )
    predictor = Predictor.from_archive(archive, predictor_name)
    interpreter = GradientXInput(predictor, label=label, batch_size=batch_size)
    rendering = None if console is None else Rendering(console)
    explain_inputs(interpreter, read_inputs(predictor, input_file), output_file, rendering)


def explain_inputs(
    interpreter: GradientXInput,
    inputs: Iterable[Tuple[Instance, Example]],
    output_file: Optional[str],
    rendering: Optional["Rendering"],
) -> None:
    """
    Explains `inputs` batch by batch; writes a line of JSON for each to `output_file` and shows it
    in the terminal.

    # Parameters

    interpreter : `GradientXInput`
    inputs : `Iterable[Tuple[Instance, Example]]`
    output_file : `str`, optional
    rendering : `Rendering`, optional
    """
    # Progress has its own line in the terminal only where the words don't scroll by.
    quiet = rendering is None or not rendering.console.is_terminal
    progress = Tqdm.tqdm(inputs, desc="saliency", unit="input", disable=not quiet)
    with _whole_or_not_at_all(output_file) as output:
        for group in lazy_groups_of(progress, interpreter.batch_size):
            instances, examples = zip(*group)
            saliencies = interpreter.explain(instances, examples=examples)
            for example, saliency in zip(examples, saliencies):
                if output is not None:
                    output.write(json.dumps(line_of(example, saliency), ensure_ascii=False) + "\n")
                if rendering is not None:
                    rendering.show(example, saliency)


def line_of(example: Example, saliency: Saliency) -> JsonDict:
    """One line of the output: the keys of the result directory's explanations.jsonl."""
    return {
        "id": example.id,
        "text": example.text,
        "columns": example.columns,
        "gold": example.label,
        "predicted": saliency.predicted,
        "explained": saliency.label,
        "labels": list(saliency.labels),
        "probabilities": list(saliency.probabilities),
        "loss": saliency.loss,
        "saliency": saliency.to_json(),
    }


# Four steps from pale to full; below half of the first step a word stays uncoloured.
BLUES = ("#c6dbef", "#9ecae1", "#6baed6", "#3182bd")
ORANGES = ("#fdd0a2", "#fdae6b", "#fd8d3c", "#e6550d")


class Rendering:
    """
    Shows explained inputs as coloured text: blue words support the explained label, orange ones
    oppose it. Where the console has no colours (a pipe, `NO_COLOR`), each word carries its score.

    # Parameters

    console : `Console`
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.in_colour = console.color_system is not None and not console.no_color
        self._legend_shown = False

    def show(self, example: Example, saliency: Saliency) -> None:
        """Prints one input: a line of labels, then its words."""
        if not self._legend_shown:
            self._print(self._legend())
            self._legend_shown = True
        scale = max((abs(word.score) for word in saliency.words), default=0.0)
        heading = f"{example.id}  {saliency.label} {saliency.probability:.1%}"
        if saliency.label != saliency.predicted:
            heading += f", predicted {saliency.predicted}"
        if example.label is not None:
            heading += f", gold {example.label}"
        if example.label not in (None, saliency.predicted):
            heading += " (wrong)"
        self._print(Text(f"{heading}, scale ±{scale:.2f}", style="bold"))
        for field in dict.fromkeys(word.field for word in saliency.words):
            line = Text("  ")
            if len(example.text) > 1:
                line.append(f"{field}: ")
            for word in saliency.words:
                if word.field == field:
                    line.append_text(self._word(word, scale))
                    line.append(" ")
            line.rstrip()
            self._print(line)

    def _word(self, word: Word, scale: float) -> Text:
        if not self.in_colour:
            return Text(f"{word.text}({word.score:+.2f})" if word.score else word.text)
        return Text(word.text, style=style_of(word.score, scale))

    def _legend(self) -> Text:
        if not self.in_colour:
            return Text(
                "word(+s) supports the explained label, word(-s) opposes it; "
                "Σ|s| = 1 over all tokens"
            )
        legend = Text("opposes ")
        steps = range(-len(ORANGES), len(BLUES) + 1)
        for step in steps:
            share = step / len(BLUES)
            legend.append(f" {share:+.2g} " if step else " 0 ", style=style_of(share, 1.0))
        return legend.append(" supports the explained label, in units of each text's own scale")

    def _print(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True, highlight=False)


def style_of(score: float, scale: float) -> str:
    """
    The colours of a word: background from pale to full with |score| / scale, nothing near zero.
    """
    share = abs(score) / scale if scale > 0 else 0.0
    step = round(share * len(BLUES))
    if step == 0:
        return ""
    return f"black on {(BLUES if score > 0 else ORANGES)[step - 1]}"


@contextmanager
def _whole_or_not_at_all(path: Optional[str]) -> Iterator[Optional[IO[str]]]:
    """A file that appears under its name only when all of it is written."""
    if path is None:
        yield None
        return
    part = f"{path}.part"
    try:
        output = open(part, "w", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"The output file {path} cannot be written: {error.strerror}."
        ) from error
    try:
        with output:
            yield output
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
