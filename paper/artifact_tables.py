"""The tables of section 5.1, each number from paper.json beside the paper's own."""

import itertools
from typing import Sequence

from allennlp.common.util import JsonDict

from allennlp_influence.analysis.scales import SCALES, Z
from paper.artifacts import CONTRASTS, CURVES, VARIANTS
from paper.markdown import MILLI, interval, number, row_of, table


def coefficient_table(
    content: JsonDict, published: JsonDict, features: Sequence[str], scales: Sequence[str] = (Z,)
) -> str:
    """Means of the quadratic coefficients of features over groups of pairs, and differences of groups."""
    first = next(iter(content["artifacts"].values()))
    groups = list(dict.fromkeys(row["group"] for row in first["averages"]))
    rows = []
    for feature, scale in itertools.product(features, scales):
        name = feature if scale == Z else f"{feature}, by {scale}"
        for group in groups:
            paper = published["coefficients"].get(feature, {}).get(group) if scale == Z else None
            row = [name, group, "" if paper is None else number(MILLI * paper, 2)]
            for found in content["artifacts"].values():
                average = row_of(found["averages"], feature=feature, scale=scale, group=group)
                row.append(interval({**average, "value": average["mean"]}, 2, MILLI))
            rows.append([*row, str(average["num_queries"])])
        for one, other in CONTRASTS:
            row = [name, f"{one} − {other}", ""]
            for found in content["artifacts"].values():
                contrast = row_of(
                    found["contrasts"], feature=feature, scale=scale, first=one, second=other
                )
                row.append("–" if contrast is None else interval(contrast, 2, MILLI))
            rows.append([*row, ""])
    dampings = [f"λ = {damping}" for damping in content["artifacts"]]
    return table(["artifact", "pairs", "paper", *dampings, "n"], rows)


def sensitivity_table(content: JsonDict, published: JsonDict) -> str:
    """The same for all choices that the paper leaves open, and on the ranks of influence."""
    return coefficient_table(content, published, list(VARIANTS), list(SCALES))


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
