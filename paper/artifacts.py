"""Section 5.1: quadratics of lexical overlap and negation on influence, in HANS, its negated twins and natural pairs."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy
from allennlp.common import Params
from allennlp.common.util import JsonDict

from allennlp_influence.analysis.artifacts import ArtifactAnalysis, analyse, percentiles
from allennlp_influence.analysis.features import ArtifactFeature
from allennlp_influence.analysis.quadratic import resamples
from allennlp_influence.analysis.scales import Z
from allennlp_influence.influence.results import Results, open_results
from paper.explained import INFLUENCE
from paper.work import Work, read, write

OVERLAP, NEGATION = "lexical-overlap", "negation"
HANS, NATURAL, NEGATED = "HANS", "natural", "negated"
ENTAILMENT, OTHER = "HANS, predicted entailment", "HANS, predicted non-entailment"
ORIGINAL = "HANS, gold entailment"  # those that have a negated twin

CONTRASTS = ((HANS, NATURAL), (ENTAILMENT, OTHER), (ORIGINAL, NEGATED))

_PIECES = {"type": "wordpieces", "encoder": "minilm"}
_GURURANGAN = ["no", "nobody", "never", "nothing", "not", "n't"]

VARIANTS = {
    OVERLAP: {"type": OVERLAP},
    "lexical-overlap, of the hypothesis's word types": {"type": OVERLAP, "distinct": True},
    "lexical-overlap, punctuation too": {
        "type": OVERLAP,
        "tokenizer": {"type": "words", "punctuation": True},
    },
    "lexical-overlap, split at spaces": {"type": OVERLAP, "tokenizer": "whitespace"},
    "lexical-overlap, word pieces": {"type": OVERLAP, "tokenizer": _PIECES},
    NEGATION: {"type": NEGATION},
    "negation, words of Gururangan et al. and not": {"type": NEGATION, "words": _GURURANGAN},
    "negation, in premise or hypothesis": {"type": NEGATION, "where": "any"},
    "negation, in one of them but not both": {"type": NEGATION, "where": "xor"},
}
"""The choices that the paper leaves open, and by each of the two names what is taken for it."""

CURVES = {
    "4a": (HANS, 7, OVERLAP),
    "4b": (HANS, 27, OVERLAP),
    "4c": (NATURAL, 48, OVERLAP),
    "5a": (HANS, 20, OVERLAP),
    "5b": (HANS, 20, NEGATION),
    "5c": (NEGATED, 10, OVERLAP),
    "5d": (NEGATED, 10, NEGATION),
}
"""The panels of figures 4 and 5: set, row, feature."""


class Pairs(NamedTuple):
    """All explained pairs: as one run's results, and which set and row each is of."""

    results: Results
    names: List[Tuple[str, int]]

    def place(self, name: str, number: int) -> int:
        """Of a pair in the results; of the first of its set if there is no such row."""
        own = [i for i, (of_set, _) in enumerate(self.names) if of_set == name]
        return next((i for i in own if self.names[i][1] == number), own[0])


def all_pairs(work: Work, damping: str) -> Pairs:
    """HANS's pairs, their negated twins and natural ones."""
    hans, others = (
        open_results(work.place(INFLUENCE, run, damping)) for run in ("hans", "others")
    )
    names = [(HANS, line["id"]) for line in hans.explanations]
    for line in others.explanations:
        names.append((line["columns"]["set"], int(line["columns"]["number"])))
    together = replace(
        hans,
        explanations=hans.explanations + others.explanations,
        scores=numpy.concatenate([hans.scores, others.scores]),
    )
    return Pairs(together, names)


def artifacts_file(work: Work, damping: str) -> Path:
    """Where `measure_artifacts` leaves the coefficients at a λ."""
    return work.folder / "artifacts" / f"lambda-{damping}.json"


def curves_file(work: Work, damping: str) -> Path:
    """Where it leaves what the figures show: values of the training examples and resampled coefficients."""
    return artifacts_file(work, damping).with_suffix(".npz")


def measure_artifacts(work: Work) -> None:
    """Fits of all variants, averages over groups of pairs and differences between groups, and what figures show."""
    for damping in work.size.solvers:
        path = artifacts_file(work, damping)
        if read(path) is not None:
            continue
        pairs = all_pairs(work, damping)
        groups = _groups(pairs)
        analysis = analyse(
            pairs.results,
            {name: _feature(config) for name, config in VARIANTS.items()},
            {("", name): positions for name, positions in groups.items()},
            work.size.resamples,
        )
        content = {
            "resamples": work.size.resamples,
            "averages": [
                {key: _known(value) for key, value in average._asdict().items() if key != "by"}
                for average in analysis.averages
            ],
            "contrasts": _contrasts(analysis, groups, work.size.resamples),
            "curves": _curves(analysis, pairs),
        }
        _write_curves(work, damping, analysis, pairs)
        write(path, content)


def _known(value: Any) -> Any:
    """`None` for what is not a number: there is no fit."""
    return None if isinstance(value, float) and not numpy.isfinite(value) else value


def _feature(config: JsonDict) -> ArtifactFeature:
    return ArtifactFeature.from_params(Params(copy.deepcopy(config)))  # which is taken apart


def _groups(pairs: Pairs) -> Dict[str, List[int]]:
    found: Dict[str, List[int]] = {}
    for i, ((name, _), line) in enumerate(zip(pairs.names, pairs.results.explanations)):
        found.setdefault(name, []).append(i)
        if name == HANS:
            found.setdefault(f"HANS, predicted {line['predicted']}", []).append(i)
            found.setdefault(f"HANS, gold {line['gold']}", []).append(i)
    return found


def _contrasts(
    analysis: ArtifactAnalysis, groups: Mapping[str, Sequence[int]], num_resamples: int
) -> List[JsonDict]:
    """Differences of the groups' mean coefficients, resampling training examples together and pairs apart."""
    generator = numpy.random.default_rng(0)
    rows = []
    for first, second in CONTRASTS:
        if first not in groups or second not in groups:
            continue
        draws = [resamples(len(groups[g]), num_resamples, generator) for g in (first, second)]
        for name, of_scales in analysis.fits.items():
            for scale, fit in of_scales.items():
                means, replicates = [], []
                for group, drawn in zip((first, second), draws):
                    positions = list(groups[group])
                    means.append(fit.coefficients[positions, 2].mean())
                    weighted = drawn * fit.replicates[:, positions, 2]
                    replicates.append(weighted.sum(1) / drawn.sum(1))
                low, high = percentiles(replicates[0] - replicates[1])
                rows.append(
                    {
                        "feature": name,
                        "scale": scale,
                        "first": first,
                        "second": second,
                        "value": _known(float(means[0] - means[1])),
                        "low": _known(float(low)),
                        "high": _known(float(high)),
                    }
                )
    return rows


def _curves(analysis: ArtifactAnalysis, pairs: Pairs) -> Dict[str, JsonDict]:
    found = {}
    for panel, (name, number, feature) in CURVES.items():
        place, fit = pairs.place(name, number), analysis.fits[feature][Z]
        line = pairs.results.explanations[place]
        low, high = fit.intervals[place]
        found[panel] = {
            "set": name,
            "row": pairs.names[place][1],
            "feature": feature,
            "gold": line["gold"],
            "predicted": line["predicted"],
            "coefficients": fit.coefficients[place].tolist(),
            "low": float(low),
            "high": float(high),
            "r_squared": float(fit.r_squared[place]),
        }
    return found


def _write_curves(work: Work, damping: str, analysis: ArtifactAnalysis, pairs: Pairs) -> None:
    arrays = {}
    for panel, (name, number, feature) in CURVES.items():
        fit = analysis.fits[feature][Z]
        arrays[f"{panel} values"] = fit.values
        arrays[f"{panel} replicates"] = fit.replicates[:, pairs.place(name, number)]
    curves_file(work, damping).parent.mkdir(parents=True, exist_ok=True)
    numpy.savez(curves_file(work, damping), **arrays)
