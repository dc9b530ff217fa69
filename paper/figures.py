"""Figures 1 to 5, from what the stages have left."""

from pathlib import Path
from typing import Any, Dict, Sequence

import matplotlib
import numpy
from allennlp.common.util import JsonDict
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from allennlp_influence.analysis.consistency import INFLUENCE, INFLUENCE_SHARES, POOLED
from allennlp_influence.analysis.salient_tokens import CHOICES
from allennlp_influence.influence.explanation import z_scores
from allennlp_influence.report.artifact_figures import draw_fit
from allennlp_influence.report.colour import BLUES, ORANGES
from paper.artifacts import CURVES, all_pairs, curves_file
from paper.work import Work

_COLOURS = {"positive": BLUES[-1], "median": "0.6", "negative": ORANGES[-1]}


def draw_figures(work: Work, content: JsonDict, published: JsonDict, folder: Path) -> None:
    """figure_1.svg and so on, at every λ."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(_saliency(content, published), folder / "figure_1.svg")
    for name, run in (("figure_2", "sst2"), ("figure_3", "hans")):
        _save(_influence(content, published, run), folder / f"{name}.svg")
    for name, panels in (("figure_4", "abc"), ("figure_5", "abcd")):
        chosen = [name[-1] + panel for panel in panels]
        # ten thousand points are no drawing
        _save(_curves(work, content, chosen), folder / f"{name}.png")


def _saliency(content: JsonDict, published: JsonDict) -> Figure:
    """Of the tokens of the paper's example; the same at every λ."""
    found = next(iter(content["examples"].values()))["figure 1"]
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    ours, papers = figure.subplots(1, 2)
    title = f"row {found['row']}, predicted {found['predicted']} {found['probability']:.3f}"
    _bars(ours, found["tokens"], found["saliency"], title)
    tokens, scores = zip(*published["saliency"]["figure 1"])
    _bars(papers, tokens, scores, "paper, predicted 1")
    ours.set_ylabel("saliency")
    return figure


def _bars(panel: Axes, tokens: Sequence[str], scores: Sequence[float], title: str) -> None:
    colours = [_COLOURS["positive" if score > 0 else "negative"] for score in scores]
    panel.bar(range(len(tokens)), scores, color=colours)
    panel.set_xticks(range(len(tokens)), tokens, rotation=45, fontsize=8, parse_math=False)
    panel.axhline(0, color="0.6", linewidth=0.8)
    panel.set_title(title, fontsize=9, parse_math=False)


def _influence(content: JsonDict, published: JsonDict, run: str) -> Figure:
    """Mean z-scores by token, a row for every λ and a column for every share; the paper's as rings."""
    consistency = content["consistency"]
    size = (2.3 * len(INFLUENCE_SHARES), 2.2 * len(consistency))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(consistency), len(INFLUENCE_SHARES), squeeze=False)
    for row, (damping, found) in zip(panels, consistency.items()):
        estimates = {
            (r["token"], r["top"]): r
            for r in found[run]["table"]
            if r["experiment"] == INFLUENCE and r["variant"] == POOLED
        }
        for panel, top in zip(row, INFLUENCE_SHARES):
            for x, choice in enumerate(CHOICES):
                estimate = estimates[choice, top]
                if estimate["value"] is not None:
                    panel.bar(x, estimate["value"], color=_COLOURS[choice], width=0.7)
                if estimate["low"] is not None:
                    panel.plot([x, x], [estimate["low"], estimate["high"]], color="black")
                value, _ = published["influence"][run][str(top)][choice]
                panel.plot(x, value, "o", color="black", fillstyle="none")
            panel.set_title(f"top {top:.0%}, λ = {damping}", fontsize=9)
            panel.set_xticks(range(len(CHOICES)), CHOICES, fontsize=8)
        row[0].set_ylabel("mean z")
    return figure


def _curves(work: Work, content: JsonDict, chosen: Sequence[str]) -> Figure:
    """Training examples and quadratics, a row for every λ."""
    artifacts = content["artifacts"]
    figure = Figure(figsize=(4.2 * len(chosen), 3.6 * len(artifacts)), layout="constrained")
    rows = figure.subplots(len(artifacts), len(chosen), squeeze=False)
    for row, (damping, found) in zip(rows, artifacts.items()):
        pairs = all_pairs(work, damping)
        labels = numpy.array([line["label"] for line in pairs.results.training_examples])
        with numpy.load(curves_file(work, damping)) as arrays:
            for panel, key in zip(row, chosen):
                name, number, feature = CURVES[key]
                place, curve = pairs.place(name, number), found["curves"][key]
                explained = pairs.results.explanations[place]["explained"]
                draw_fit(
                    panel,
                    z_scores(pairs.results.scores[place]),
                    arrays[f"{key} values"],
                    labels == explained,
                    numpy.array(curve["coefficients"]),
                    arrays[f"{key} replicates"],
                )
                c, low, high = (1e3 * x for x in (curve["coefficients"][2], curve["low"], curve["high"]))
                panel.set_title(
                    f"{key}: {name} {curve['row']}, λ = {damping}\nc = {c:+.2f} [{low:+.2f}, {high:+.2f}] · 10⁻³",
                    fontsize=9,
                )
                panel.set_ylabel(feature)
                panel.set_xlabel(f"influence on {explained}, z")
    rows[0, 0].legend(fontsize=8, framealpha=0.8)
    return figure


def _save(figure: Figure, path: Path) -> None:
    with matplotlib.rc_context({"svg.hashsalt": "paper"}):  # the same bytes again
        options: Dict[str, Any] = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
        figure.savefig(path, dpi=110, **options)
