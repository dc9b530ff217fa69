"""The tables of section 5.1, each number from paper.json beside the paper's own."""

import itertools

from allennlp.common.util import JsonDict

from allennlp_influence.analysis.scales import SCALES, Z
from paper.artifacts import (
    CONTRASTS,
    CURVES,
    HANS,
    NATURAL,
    NEGATED,
    NEGATION,
    ORIGINAL,
    OVERLAP,
    VARIANTS,
)
from paper.markdown import MILLI, interval, number, row_of, table


def coefficient_table(content: JsonDict, published: JsonDict) -> str:
    """Means of the quadratic coefficients over groups of pairs, and differences of groups."""
    first = next(iter(content["artifacts"].values()))
    groups = list(dict.fromkeys(row["group"] for row in first["averages"]))
    rows = []
    for feature in (OVERLAP, NEGATION):
        for group in groups:
            paper = published["coefficients"].get(feature, {}).get(group)
            row = [feature, group, "" if paper is None else number(MILLI * paper, 2)]
            for found in content["artifacts"].values():
                average = row_of(found["averages"], feature=feature, scale=Z, group=group)
                row.append(interval({**average, "value": average["mean"]}, 2, MILLI))
            rows.append([*row, str(average["num_queries"])])
        for one, other in CONTRASTS:
            row = [feature, f"{one} − {other}", ""]
            for found in content["artifacts"].values():
                contrast = row_of(
                    found["contrasts"], feature=feature, scale=Z, first=one, second=other
                )
                row.append("–" if contrast is None else interval(contrast, 2, MILLI))
            rows.append([*row, ""])
    dampings = [f"λ = {damping}" for damping in content["artifacts"]]
    return table(["artifact", "pairs", "paper", *dampings, "n"], rows)


def sensitivity_table(content: JsonDict, damping: str) -> str:
    """The same at one λ for all choices that the paper leaves open, and on the ranks of influence."""
    found = content["artifacts"][damping]
    groups = [HANS, NATURAL, ORIGINAL, NEGATED]
    contrasts = [(HANS, NATURAL), (ORIGINAL, NEGATED)]
    rows = []
    for feature, scale in itertools.product(VARIANTS, SCALES):
        row = [feature, scale]
        for group in groups:
            average = row_of(found["averages"], feature=feature, scale=scale, group=group)
            row.append(interval({**average, "value": average["mean"]}, 2, MILLI))
        for first, second in contrasts:
            contrast = row_of(found["contrasts"], feature=feature, scale=scale, first=first, second=second)
            row.append(interval(contrast, 2, MILLI))
        rows.append(row)
    columns = ["artifact", "influence by", *groups, *(f"{a} − {b}" for a, b in contrasts)]
    return table(columns, rows)


def curve_table(content: JsonDict, published: JsonDict) -> str:
    """The coefficients of figures 4 and 5."""
    rows = []
    for panel in CURVES:
        row = [panel, "", number(MILLI * published["curves"][panel], 2)]
        for found in content["artifacts"].values():
            curve = found["curves"][panel]
            row[1] = f"{curve['set']} {curve['row']}, {curve['feature']}, predicted {curve['predicted']}"
            values = {**curve, "value": curve["coefficients"][2]}
            row += [interval(values, 2, MILLI), number(curve["r_squared"], 3)]
        rows.append(row)
    columns = ["figure", "pair, artifact", "paper"]
    for damping in content["artifacts"]:
        columns += [f"λ = {damping}", "R²"]
    return table(columns, rows)
