"""The paper's system solved as far as float32 goes, on all training examples: what the others are compared with."""

import time
from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy

from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.influence.results import open_results
from subject import Subject

TOGETHER = 2  # queries, that share the passes over the data
# Changes how many steps it takes, not what is solved.
PRECONDITIONER = {
    "type": "spectral",
    "curvature": "gauss-newton",
    "num_examples": 500,
    "rank": 8,
    "block_size": 8,
    "steps": 3,
}


def measure(
    subject: Sequence[Any], damping: float, num_queries: int, folder: str, scores_file: str
) -> Dict[str, Any]:
    """
    Conjugate gradient to a residual of 1e-6 with the Hessian of all N examples, for the first `num_queries` inputs, two
    at a time, in result directories of their own in `folder`: a run that was stopped goes on after the last of them,
    and a later one finds them all. Their scores go into `scores_file`.
    """
    # the number of queries is in the overrides and so among what a result directory was made with
    of = Subject(*subject)._replace(num_queries=TOGETHER)
    solver = {
        "type": "conjugate-gradient",
        "damping": damping,
        "tolerance": 1e-6,
        "max_iterations": 200,
        "preconditioner": PRECONDITIONER,
    }
    start = time.perf_counter()
    scores, lines = [], []
    for begin in range(0, num_queries, TOGETHER):
        end = min(begin + TOGETHER, num_queries)
        directory = Path(folder) / f"{begin}-{end}"
        part = directory.with_name(directory.name + ".tsv")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text("".join(rows(of.inputs, begin, end)), encoding="utf-8")
        explain_archive(
            of.archive_file,
            str(part),
            str(directory),
            train_data=of.train_data,
            solver=solver,
            cache_dir=str(Path(folder) / "cache"),
            overrides=of.overrides,
        )
        results = open_results(directory)
        scores.append(numpy.array(results.scores))
        lines += results.explanations
    numpy.save(scores_file, numpy.concatenate(scores))
    diagnoses = [line["diagnosis"] for line in lines]
    return {
        "seconds": time.perf_counter() - start,
        "how": f"measured, for {num_queries} inputs; what an earlier run had solved is not solved again",
        "stages": {},
        "num_exact": num_queries,
        "residuals": [d["residual"] for d in diagnoses],
        "steps": max(d["steps"] for d in diagnoses),
        "lambda_max": max(d["lambda_max"] for d in diagnoses),
        "lambda_min": min(d["lambda_min"] for d in diagnoses),
    }


def rows(path: str, begin: int, end: int) -> List[str]:
    """The header and some rows of a file."""
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    return lines[:1] + lines[1 + begin : 1 + end]
