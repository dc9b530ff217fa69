"""Section 4.1: what removing the training examples that influence points at does, as far as the time goes."""

import time
from typing import Dict, Optional

from allennlp.common.util import JsonDict

from allennlp_influence.analysis.removal import (
    NEAR_ZERO,
    NEGATIVE,
    POSITIVE,
    POSITIVE_MATCHED,
    RANDOM,
)
from allennlp_influence.analysis.removal_files import SUMMARY_JSON
from allennlp_influence.commands.removal import measure_removal, retrainer_config
from allennlp_influence.influence.results import open_results
from paper.explained import INFLUENCE
from paper.work import Work, read, task_of

GROUPS = (POSITIVE, NEGATIVE, NEAR_ZERO, RANDOM, POSITIVE_MATCHED)
REMOVAL_RUNS = ("sst2", "hans")
PAPERS_MEASURE = "decision_confidence"
_REMOVAL = "removal"
_KEPT = ("training_examples", "removed_examples", "seeds", "queries", "models", "table")


def remove(work: Work) -> None:
    """Retrainings for tables 1 and 2, as many as the minutes allow; the time left is shared out evenly."""
    end = time.monotonic() + 60 * work.minutes
    pairs = [(run, damping) for damping in work.size.solvers for run in REMOVAL_RUNS]
    for number, (run, damping) in enumerate(pairs):
        results = open_results(work.place(INFLUENCE, run, damping))
        config = retrainer_config(results, str(work.archive(task_of(run))), "trained-layers")
        measure_removal(
            results,
            {**config, "cache_dir": work.cache},
            str(work.place(_REMOVAL, run, damping)),
            groups=GROUPS,
            seeds=work.size.seeds,
            processes=work.processes,
            max_minutes=max(0.0, end - time.monotonic()) / 60 / (len(pairs) - number),
        )


def removal_content(work: Work, damping: str) -> Dict[str, JsonDict]:
    """What is known at a λ, by run; nothing of a run none of whose removals is complete."""
    content = {}
    for run in REMOVAL_RUNS:
        found: Optional[JsonDict] = read(work.place(_REMOVAL, run, damping) / SUMMARY_JSON)
        if found is not None:
            content[run] = {key: found[key] for key in _KEPT}
            content[run]["retrainer"] = found["retrainer"]["type"]
    return content
