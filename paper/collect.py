"""All numbers of all stages in one file, without a text of the data."""

import platform
from importlib.metadata import version
from itertools import combinations
from typing import Any, Dict, List

import numpy
from allennlp.common.util import JsonDict
from scipy.stats import spearmanr

from allennlp_influence.analysis.consistency_files import SUMMARY_JSON
from allennlp_influence.analysis.rankings import overlap, ranking, top_count
from allennlp_influence.data.example import SPECIAL_TOKENS
from allennlp_influence.influence.results import Results, open_results
from paper.artifacts import artifacts_file
from paper.explained import CONSISTENCY, CONSISTENCY_RUNS, INFLUENCE, RUNS
from paper.models import ACCURACY
from paper.removal import removal_content
from paper.work import SETTINGS, Work, read, write

NUMBERS = "paper.json"
# the examples that the paper shows: run and row
EXAMPLES = {"figure 1": ("sst2", 7), "table 5": ("hans", 10)}
_LISTED = 5
COMPARED_SHARE = 0.01  # of the training examples, whose ranking at two λ is compared


def collect(work: Work) -> JsonDict:
    """
    The content of paper.json: what `tables`, `findings` and `figures` are made of. What is not done yet is not
    in it.
    """
    content: Dict[str, Any] = {
        "settings": read(work.folder / SETTINGS),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("allennlp-influence", "allennlp", "torch")},
        },
        "accuracy": read(work.folder / ACCURACY),
    }
    for part in ("runs", "examples", "consistency", "artifacts", "removal"):
        content[part] = {damping: {} for damping in work.size.solvers}
    for damping in work.size.solvers:
        for run in RUNS:
            results = open_results(work.place(INFLUENCE, run, damping))
            content["runs"][damping][run] = _run(results)
        for name, (run, row) in EXAMPLES.items():
            results = open_results(work.place(INFLUENCE, run, damping))
            content["examples"][damping][name] = _example(results, row)
        for run in CONSISTENCY_RUNS:
            found = read(work.place(CONSISTENCY, run, damping) / SUMMARY_JSON)
            kept = ("queries", "queries_left_out", "masked_inputs", "bootstrap", "table")
            content["consistency"][damping][run] = {key: found[key] for key in kept}
        content["artifacts"][damping] = read(artifacts_file(work, damping))
        content["removal"][damping] = removal_content(work, damping)
    content["between"] = [
        {
            "run": run,
            "dampings": list(pair),
            **_between(*(open_results(work.place(INFLUENCE, run, damping)) for damping in pair)),
        }
        for run in RUNS
        for pair in combinations(work.size.solvers, 2)
    ]
    write(work.folder / NUMBERS, content)
    return content


def _between(first: Results, second: Results) -> JsonDict:
    """How alike the scores are at two λ: means over the inputs, and the least."""
    pairs = list(zip(first.scores, second.scores))
    agreements = [float(spearmanr(a, b).statistic) for a, b in pairs]
    count = max(1, top_count(first.scores.shape[1], COMPARED_SHARE))
    shared = [overlap(ranking(a), ranking(b), count) for a, b in pairs]
    return {
        "spearman": float(numpy.mean(agreements)),
        "least spearman": min(agreements),
        "top overlap": float(numpy.mean(shared)),
    }


def _run(results: Results) -> JsonDict:
    diagnoses = [line["diagnosis"] for line in results.explanations]
    right = [line["predicted"] == line["gold"] for line in results.explanations]
    provenance = results.provenance
    return {
        "queries": len(results.explanations),
        "predicted right": sum(right),
        "training examples": len(results.train_ids),
        "solver": provenance["solver"],
        "curvature": provenance["curvature"]["kind"],
        "lambda_max": provenance["curvature"]["lambda_max"],
        "lambda_min": provenance["curvature"]["lambda_min"],
        "largest residual": max((d["residual"] or 0.0 for d in diagnoses), default=None),
        "not converged": sum(not d["converged"] for d in diagnoses),
        "agreement with gradient products": provenance["self_checks"]["rank_agreement_with_identity"],
        "agreement with half of the curvature": provenance["self_checks"][
            "rank_agreement_with_half_of_the_curvature"
        ],
    }


def _example(results: Results, row: int) -> JsonDict:
    """The input in a row, by the saliency of its tokens and the rows of its training examples; else the first one."""
    lines = results.explanations
    line = next((line for line in lines if line["id"] == row), lines[0])
    listed: Dict[str, List[JsonDict]] = {
        side: [{key: example[key] for key in ("id", "label", "z")} for example in line[side][:_LISTED]]
        for side in ("supporters", "opponents")
    }
    return {
        "row": line["id"],
        "gold": line["gold"],
        "predicted": line["predicted"],
        "probability": dict(zip(line["labels"], line["probabilities"]))[line["predicted"]],
        # words stay out; the paper shows these inputs
        "tokens": [
            token if token in SPECIAL_TOKENS else str(place)
            for place, token in enumerate(line["saliency"]["tokens"])
        ],
        "saliency": line["saliency"]["scores"],
        **listed,
    }
