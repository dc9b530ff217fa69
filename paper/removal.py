"""Section 4.1: what removing the training examples that influence points at does, as far as the time goes."""

import json
import shutil
import time
from pathlib import Path
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
from allennlp_influence.analysis.retrainings import JOURNAL, make_retrainer
from allennlp_influence.commands.removal import measure_removal, retrainer_config
from allennlp_influence.commands.reopening import Reopening
from allennlp_influence.influence.results import open_results
from paper.explained import INFLUENCE
from paper.work import Work, read

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
        retrainer = json.dumps({"type": "trained-layers", "cache_dir": work.cache})
        config = retrainer_config(Reopening(results), retrainer)
        models = work.folder / _REMOVAL / run  # the same for every λ: random removals do not depend on it
        kept = work.docs / "paper" / _REMOVAL / f"{run}.jsonl"
        _take_up(kept, models / JOURNAL, config)
        measure_removal(
            results,
            config,
            str(work.place(_REMOVAL, run, damping)),
            models_dir=str(models),
            groups=GROUPS,
            seeds=work.size.seeds,
            processes=work.processes,
            max_minutes=max(0.0, end - time.monotonic()) / 60 / (len(pairs) - number),
        )
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(models / JOURNAL, kept)


def _take_up(kept: Path, journal: Path, config: JsonDict) -> None:
    """Models that an earlier run has left beside the document, if they were trained from the same data in the same way."""
    if journal.exists() or not kept.exists():
        return
    with open(kept, encoding="utf-8") as lines:
        before = json.loads(next(lines))["inputs"]
    if before == {"retrainer": make_retrainer(config).fingerprint}:
        journal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept, journal)


def removal_content(work: Work, damping: str) -> Dict[str, JsonDict]:
    """What is known at a λ, by run; nothing of a run none of whose removals is complete."""
    content = {}
    for run in REMOVAL_RUNS:
        found: Optional[JsonDict] = read(work.place(_REMOVAL, run, damping) / SUMMARY_JSON)
        if found is not None:
            content[run] = {key: found[key] for key in _KEPT}
            content[run]["retrainer"] = found["retrainer"]["type"]
    return content
