"""
Reruns the tables and figures of Han, Wallace & Tsvetkov (2020); see README.md.

    make paper DATA=../shared/data
"""

import argparse
import logging
import sys
from pathlib import Path

from allennlp.common.checks import ConfigurationError
from allennlp.common.plugins import import_plugins

from allennlp_influence.influence.reading import one_line
from paper.artifacts import measure_artifacts
from paper.collect import collect
from paper.data import data_in, fixtures
from paper.document import published, write_document
from paper.explained import compare_with_saliency, explain
from paper.figures import draw_figures
from paper.models import measure_accuracy, train
from paper.removal import remove
from paper.sizes import SIZES
from paper.work import Work

_STAGES = (train, measure_accuracy, explain, compare_with_saliency, measure_artifacts, remove)


def main() -> None:
    """Runs what is not done yet."""
    parser = argparse.ArgumentParser(prog="make paper", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with SST-2, MultiNLI and HANS")
    parser.add_argument("--size", choices=sorted(SIZES), default="full")
    parser.add_argument("--out", type=Path, help="folder of everything that is computed")
    parser.add_argument("--docs", type=Path, help="where paper.md and its figures are written")
    parser.add_argument("--minutes", type=float, default=120, help="for retraining, in this call")
    parser.add_argument("--processes", type=int, default=1, help="that retrain at the same time")
    for task in ("sst2", "mnli"):
        parser.add_argument(f"--{task}", type=Path, help="an archive that is trained already")
    args = parser.parse_args()
    import_plugins()
    logging.disable(logging.INFO)  # of AllenNLP's training, which is in the models' folders
    out = args.out or Path("out") / "paper" / args.size
    try:
        run(
            Work(
                out,
                SIZES[args.size],
                fixtures() if args.size == "tiny" else data_in(args.data or Path("../shared/data")),
                {task: getattr(args, task) for task in ("sst2", "mnli") if getattr(args, task)},
                args.minutes,
                args.processes,
                args.docs or out,
            )
        )
    except ConfigurationError as error:
        sys.exit(f"make paper: {one_line(error)}")


def run(work: Work) -> None:
    """All stages, then the document with its numbers and figures."""
    work.begin()
    for stage in _STAGES:
        print(f"\n== {stage.__doc__.splitlines()[0]}", flush=True)
        stage(work)
    content = collect(work)
    draw_figures(work, content, published(), work.docs / "paper")
    write_document(content, work.docs / "paper.md", "paper")


if __name__ == "__main__":
    main()
