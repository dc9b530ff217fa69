"""Figures of an analysis of artifacts, as SVG and PNG."""

import re
import warnings
from pathlib import Path
from typing import Dict, Iterable, Sequence

import matplotlib
import numpy
from allennlp.common import Tqdm
from allennlp.common.util import JsonDict
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from allennlp_influence.analysis.artifacts import (
    ArtifactAnalysis,
    Average,
    FeatureFits,
    Groups,
    group_name,
    percentiles,
)
from allennlp_influence.analysis.scales import SCALES
from allennlp_influence.influence.results import Results
from allennlp_influence.report import wording
from allennlp_influence.report.colour import BLUES, ORANGES
from allennlp_influence.report.texts import visible

SUMMARY = "summary"
SCATTERS = "scatter"
_SAME, _OTHER = BLUES[-1], ORANGES[-1]
_SCALE = 1e3  # coefficients are shown in thousandths
_BINS = (0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1)
_LEAST_IN_BIN = 10
_MARGINS = {"left": 0.08, "right": 0.99, "bottom": 0.11, "top": 0.83, "wspace": 0.03}


def draw_summary(directory: Path, analysis: ArtifactAnalysis) -> None:
    """The coefficients of all queries and their averages over groups, a row of panels for each feature."""
    features, groups = len(analysis.fits), len(analysis.groups)
    size = (2 + 4 * len(SCALES), features * (1.4 + 0.3 * groups))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(features, len(SCALES), squeeze=False, sharey=True)
    for row, (name, of_scales) in zip(panels, analysis.fits.items()):
        for panel, (scale, fit) in zip(row, of_scales.items()):
            averages = [a for a in analysis.averages if (a.feature, a.scale) == (name, scale)]
            _draw_groups(panel, fit, analysis.groups, averages)
            panel.set_title(_short(f"{name} ({scale})", 60), fontsize=10, parse_math=False)
    _save(figure, directory / SUMMARY)


def draw_scatters(
    directory: Path, results: Results, analysis: ArtifactAnalysis, num_queries: int
) -> None:
    """The training examples and the fitted curves of the first queries, a figure for each feature."""
    (directory / SCATTERS).mkdir()
    stems = _stems(analysis.fits)
    labels = numpy.array([str(line["label"]) for line in results.training_examples])
    lines = results.explanations[:num_queries]
    with Tqdm.tqdm(total=len(lines) * len(stems), desc="figures") as progress:
        for q, line in enumerate(lines):
            for name, of_scales in analysis.fits.items():
                figure = Figure(figsize=(10, 4.4))
                panels = figure.subplots(1, len(SCALES), sharey=True, gridspec_kw=_MARGINS)
                for panel, (scale, fit) in zip(panels, of_scales.items()):
                    z = SCALES[scale](results.scores[q])
                    same = labels == line["explained"]
                    draw_fit(panel, z, fit.values, same, fit.coefficients[q], fit.replicates[:, q])
                    panel.set_title(_numbers(fit, q), fontsize=9)
                    panel.set_xlabel(f"influence ({scale})")
                panels[0].set_ylabel(_short(name, 50), parse_math=False)
                panels[0].legend(fontsize=8, framealpha=0.8)
                figure.suptitle(_heading(line), fontsize=9, parse_math=False)
                _save(figure, directory / SCATTERS / f"{stems[name]}-{line['id']}")
                progress.update()


def draw_fit(
    panel: Axes,
    z: numpy.ndarray,
    values: numpy.ndarray,
    same: numpy.ndarray,
    coefficients: numpy.ndarray,
    replicates: numpy.ndarray,
) -> None:
    """
    The training examples of one query, and its quadratic.

    # Parameters

    panel : `Axes`
    z, values, same : `numpy.ndarray`
        `(N,)`: of every training example the influence, the feature, and whether it has the explained label.
    coefficients, replicates : `numpy.ndarray`
        `(3,)` and `(B, 3)`, see `FeatureFits`.
    """
    _draw_points(panel, z, values, same)
    _draw_curve(panel, z, coefficients, replicates)


def _draw_groups(
    panel: Axes, fit: FeatureFits, groups: Groups, averages: Sequence[Average]
) -> None:
    c = _SCALE * fit.coefficients[:, 2]
    jitter = numpy.random.default_rng(0).uniform(-0.25, 0.25, len(c))
    panel.axvline(0, color="0.6", linewidth=0.8)
    for row, (positions, average) in enumerate(zip(groups.values(), averages)):
        panel.scatter(c[positions], row + jitter[positions], s=9, color=_SAME, alpha=0.35, linewidth=0)
        ends = [_SCALE * average.low, _SCALE * average.high]
        panel.plot(ends, [row, row], color="black", linewidth=2, solid_capstyle="butt")
        panel.plot(_SCALE * average.mean, row, "D", color="black", markersize=5)
    names = [f"{_short(group_name(*key), 40)} ({len(groups[key])})" for key in groups]
    panel.set_yticks(range(len(names)), names, parse_math=False)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_xlabel("c in thousandths: queries, mean and 95 % interval")


def _draw_points(
    panel: Axes, z: numpy.ndarray, values: numpy.ndarray, same: numpy.ndarray
) -> None:
    shown = values
    if len(numpy.unique(values)) <= 5:  # points on a few lines would hide one another
        step = numpy.diff(numpy.unique(values)).min()
        shown = values + numpy.random.default_rng(0).uniform(-0.06, 0.06, len(values)) * step
    order = numpy.random.default_rng(0).permutation(len(z))  # neither colour hides the other
    panel.scatter(
        z[order],
        shown[order],
        s=8,
        c=numpy.where(same, _SAME, _OTHER)[order],
        alpha=max(0.12, min(0.6, 300 / len(z))),
        linewidth=0,
        rasterized=True,  # ten thousand points are no drawing
    )
    for colour, name in ((_SAME, "explained label"), (_OTHER, "another label")):
        panel.scatter([], [], s=8, color=colour, label=name)
    centres, means, errors = _binned(z, values)
    panel.errorbar(
        centres, means, errors, fmt="o", color="black", markersize=4, linewidth=1, label="mean of a bin"
    )


def _binned(z: numpy.ndarray, values: numpy.ndarray) -> numpy.ndarray:
    """Mean z and mean value of bins of neighbours in z, small at the ends, and two standard errors, `(3, bins)`."""
    order = numpy.argsort(z, kind="stable")
    ends = [0]
    for end in (round(share * len(z)) for share in _BINS):
        if end - ends[-1] >= _LEAST_IN_BIN and (len(z) - end >= _LEAST_IN_BIN or end == len(z)):
            ends.append(end)
    parts = [order[start:end] for start, end in zip(ends, ends[1:])] or [order]
    return numpy.array(
        [
            (z[part].mean(), values[part].mean(), 2 * values[part].std() / len(part) ** 0.5)
            for part in parts
        ]
    ).T


def _draw_curve(
    panel: Axes, z: numpy.ndarray, coefficients: numpy.ndarray, replicates: numpy.ndarray
) -> None:
    x = numpy.linspace(z.min(), z.max(), 200)
    powers = numpy.stack([numpy.ones_like(x), x, x * x])
    low, high = percentiles(replicates @ powers)
    limits = panel.get_ylim()
    panel.plot(x, coefficients @ powers, color="black", linewidth=1.6, label="fit, 95 % band")
    panel.fill_between(x, low, high, color="black", alpha=0.12, linewidth=0)
    panel.set_ylim(limits)  # where there are points; the curve may go on


def _heading(line: JsonDict) -> str:
    probability = dict(zip(line["labels"], line["probabilities"]))[line["predicted"]]
    predicted = f"predicted {line['predicted']} {wording.probability(probability)}"
    if line["explained"] != line["predicted"]:
        predicted += f", explained {line['explained']}"
    return _short(f"{line['id']}: {' ‖ '.join(line['text'].values())}", 110) + f"\n{visible(predicted)}"


def _numbers(fit: FeatureFits, q: int) -> str:
    c, (low, high) = fit.coefficients[q, 2], fit.intervals[q]
    if not numpy.isfinite(c):
        return "no fit: the scores have no three values"
    return (
        f"c = {_SCALE * c:+.2f} thousandths, 95 % {_SCALE * low:+.2f} … {_SCALE * high:+.2f}, "
        f"R² = {fit.r_squared[q]:.3f}"
    ).replace("-", "−")


def _stems(names: Iterable[str]) -> Dict[str, str]:
    """A file name for each feature, all of them different."""
    stems: Dict[str, str] = {}
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
        taken = list(stems.values())
        stems[name] = stem if stem not in taken else f"{stem}-{len(taken) + 1}"
    return stems


def _short(text: str, length: int) -> str:
    text = visible(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def _save(figure: Figure, stem: Path) -> None:
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "artifacts"}):
        warnings.filterwarnings("ignore", message="Glyph")  # of scripts that the font lacks
        figure.savefig(f"{stem}.svg", metadata={"Date": None}, dpi=150)
        figure.savefig(f"{stem}.png", dpi=150)
