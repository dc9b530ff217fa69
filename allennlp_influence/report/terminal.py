"""A summary of a result directory in the terminal."""

from typing import Any, Dict, List, Sequence

from allennlp.common.util import JsonDict
from rich.console import Console
from rich.text import Text

from allennlp_influence.report import wording
from allennlp_influence.report.colour import style_of
from allennlp_influence.report.html import REPORT
from allennlp_influence.report.results import PathLike, checked_results
from allennlp_influence.report.texts import ScoredText, scored_texts, visible

_MOST_QUERIES = 5  # with more than these, only the first few are shown
_FEW_QUERIES = 3
_NUM_LISTED = 3  # training examples at either end
_STRONGEST_WORDS = 4
_INDENT = "   "


def print_summary(directory: PathLike, console: Console) -> None:
    """
    Shows the first queries of a result directory with their words, the strongest training examples on
    both sides, and where the rest is. A console without colours gets the strongest words as numbers.

    # Raises

    `ConfigurationError` naming the file if the directory is not a complete result directory.
    """
    results = checked_results(directory)
    lines = results.explanations
    shown = lines if len(lines) <= _MOST_QUERIES else lines[:_FEW_QUERIES]
    for line in shown:
        _print(console, Text())
        for text in _query(line, console):
            _print(console, text)
    _print(console, Text())
    _print(console, Text(wording.verdict(lines), style="bold"))
    report = results.directory / REPORT
    more = len(lines) - len(shown)
    others = f"{wording.plural(more, 'more prediction')} and all scores" if more else "All scores"
    console.print(
        Text(f"{others} are in {visible(str(report))} (open it in a browser)."), soft_wrap=True
    )


def _print(console: Console, text: Text) -> None:
    console.print(text, highlight=False)


def _query(line: JsonDict, console: Console) -> List[Text]:
    """One query, a block of lines."""
    probability = dict(zip(line["labels"], line["probabilities"]))[line["predicted"]]
    heading = Text(f"{line['id']}  ", style="bold")
    heading.append(f"{visible(line['predicted'])} {wording.probability(probability)}")
    if line["gold"] is not None:
        heading.append(f", gold {visible(line['gold'])}", style="not bold")
    if wording.is_right(line) is False:
        heading.append("  wrong", style="dark_orange")
    if line["explained"] != line["predicted"]:
        heading.append(f"  explained: {visible(line['explained'])}", style="not bold")
    return [
        heading,
        *_words(line, console),
        *_influences("supporting", "blue", line["supporters"], console.width),
        *_influences("opposing", "dark_orange", line["opponents"], console.width),
    ]


def _words(line: JsonDict, console: Console) -> List[Text]:
    """The texts of a query, with its words coloured or, without colours, the strongest named."""
    words: Sequence[Dict[str, Any]] = (line["saliency"] or {}).get("words", [])
    scale = max((abs(word["score"]) for word in words), default=0.0)
    rows = []
    for text in scored_texts(line["text"], words if line["saliency"] else None):
        row = _coloured(text, scale)
        if len(line["text"]) > 1:
            row = Text(f"{visible(text.field)}: ", style="dim").append_text(row)
        row.truncate(4 * console.width, overflow="ellipsis")
        rows.extend(Text(_INDENT) + part for part in row.wrap(console, console.width - len(_INDENT)))
    if words and (console.color_system is None or console.no_color):
        strongest = sorted(words, key=lambda word: -abs(word["score"]))[:_STRONGEST_WORDS]
        rows.append(
            Text(
                f"{_INDENT}words: "
                + ", ".join(f"{visible(w['text'])} {_two_digits(w['score'])}" for w in strongest)
            )
        )
    return rows


def _influences(
    heading: str, colour: str, influences: Sequence[JsonDict], width: int
) -> List[Text]:
    """The strongest training examples of one side, a line each, cut to the width."""
    if not influences:
        return []
    shown = influences[:_NUM_LISTED]
    ids = max(len(str(influence["id"])) for influence in shown)
    labels = max(len(visible(str(influence["label"]))) for influence in shown)
    rows = [Text(f"{_INDENT}{heading}", style=colour)]
    for influence in shown:
        row = Text(f"{_INDENT}{influence['id']:>{ids}}  {visible(str(influence['label'])):<{labels}}  ")
        row.append(f"z {wording.z_value(influence['z']):>6}  ")
        row.append_text(_text_of(influence))
        row.truncate(width, overflow="ellipsis")
        rows.append(row)
    return rows


def _text_of(influence: JsonDict) -> Text:
    """The text of a training example, its words coloured by what they add to its score if that is known."""
    attribution = influence.get("token_attribution")
    words = None if attribution is None else attribution["words"]
    scale = max((abs(word["score"]) for word in words or ()), default=0.0)
    texts = scored_texts(influence["text"], words)
    return Text(" ‖ ").join(_coloured(text, scale) for text in texts)


def _coloured(text: ScoredText, scale: float) -> Text:
    row = Text()
    for part, score in text.parts:
        row.append(visible(part), style=style_of(score, scale) if score else "")
    return row.append(visible(text.unread), style="dim strike")


def _two_digits(score: float) -> str:
    return f"{score:+.2f}".replace("-", "−")
