"""
Agreement of two result directories of `allennlp influence` on the queries that they share:

    python benchmarks/compare_results.py out/lissa out/conjugate_gradient

For every query the Spearman correlation of its scores and the overlap of the ten highest and of the ten lowest.
"""

import sys

import numpy
from scipy.stats import spearmanr

from allennlp_influence.influence.results import open_results


def main(first: str, second: str) -> None:
    a, b = open_results(first), open_results(second)
    if a.train_ids != b.train_ids:
        sys.exit(f"{first} and {second} were made with other training examples")
    rows = []
    for row, query in enumerate(a.query_ids):
        if query not in b.query_ids:
            continue
        x, y = a.scores[row], b.scores[b.query_ids.index(query)]
        order, other_order = numpy.argsort(-x, kind="stable"), numpy.argsort(-y, kind="stable")
        top, bottom = (
            len(set(order[end]) & set(other_order[end])) for end in (slice(10), slice(-10, None))
        )
        rows.append((spearmanr(x, y)[0], top, bottom))
        print(f"query {query:>5}  Spearman {rows[-1][0]:.4f}  top 10: {top:2}  bottom 10: {bottom:2}")
    spearman, top, bottom = numpy.median(rows, axis=0)
    print(f"median of {len(rows)}: Spearman {spearman:.4f}, top 10: {top:g}, bottom 10: {bottom:g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
