"""
How time and memory of `allennlp influence` grow with the training examples and with the inputs.

    .venv/bin/python benchmarks/scaling.py --data ../shared/data/sst2 --archive out/sst2/model.tar.gz

writes benchmarks/results/scaling.json and docs/performance/scaling.svg. Every point is kept in .bench/scaling when it is
measured; a run that was stopped goes on with the next.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402

from measure import measured  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SOLVER = {
    "type": "spectral",
    "curvature": "gauss-newton",
    "num_examples": 1000,
    "rank": 8,
    "block_size": 8,
    "steps": 3,
}
SIZES = (1_000, 3_000, 10_000, 30_000, 67_349)
QUERIES = (1, 10, 50, 200, 500)
EXAMPLES_PER_STEP_OF_QUERIES, QUERIES_PER_STEP_OF_EXAMPLES = 10_000, 50

Points = List[Dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv, dev.tsv")
    parser.add_argument("--archive", type=Path, required=True, help="a trained model")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of training examples")
    parser.add_argument("--queries", type=int, nargs="+", default=QUERIES, help="numbers of inputs")
    args = parser.parse_args()
    wanted = {(size, QUERIES_PER_STEP_OF_EXAMPLES) for size in args.sizes}
    wanted |= {(EXAMPLES_PER_STEP_OF_QUERIES, number) for number in args.queries}
    points = [point(args, *sizes) for sizes in sorted(wanted)]
    path = ROOT / "benchmarks" / "results" / "scaling.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"solver": SOLVER, "points": points}, indent=1) + "\n")
    draw(points, ROOT / "docs" / "performance" / "scaling.svg")


def point(args: argparse.Namespace, size: int, queries: int) -> Dict[str, Any]:
    """One run, or what it gave before."""
    folder = ROOT / ".bench" / "scaling"
    kept = folder / f"{size}-{queries}.json"
    if not kept.exists():
        inputs = (args.archive, args.data / "train.tsv", args.data / "dev.tsv")
        subject = [*(str(path.resolve()) for path in inputs), size, queries]
        found = measured("command", f"N {size} Q {queries}", folder, {"subject": subject, "solver": SOLVER})
        if "error" in found:
            raise SystemExit(found["error"])
        kept.write_text(json.dumps({"examples": size, "queries": queries, **found}))
    found = json.loads(kept.read_text())
    print(f"N = {size}, Q = {queries}: {found['seconds']:.1f} s, {found['own_memory_gb']:.2f} GB", flush=True)
    return found


def draw(points: Points, path: Path) -> None:
    """Seconds and GB against N and Q."""
    figure, axes = pyplot.subplots(2, 2, figsize=(8, 5), sharex="col", layout="constrained")
    along_n = [p for p in points if p["queries"] == QUERIES_PER_STEP_OF_EXAMPLES]
    along_q = [p for p in points if p["examples"] == EXAMPLES_PER_STEP_OF_QUERIES]
    for column, (what, label, some) in enumerate(
        (
            ("examples", f"training examples, Q = {QUERIES_PER_STEP_OF_EXAMPLES}", along_n),
            ("queries", f"inputs, N = {EXAMPLES_PER_STEP_OF_QUERIES:,}", along_q),
        )
    ):
        x = [p[what] for p in some]
        seconds, memory = axes[:, column]
        seconds.plot(x, [p["seconds"] for p in some], "o-", label="whole run")
        seconds.plot(x, [p["stages"]["solver and scores"] for p in some], "s--", label="solver and scores")
        memory.plot(x, [p["own_memory_gb"] for p in some], "o-", label="own")
        memory.plot(x, [p["with_mapped_files_gb"] for p in some], "s--", label="with mapped files")
        seconds.set_ylabel("seconds")
        memory.set_ylabel("GB above the start")
        memory.set_xlabel(label)
        for ax in (seconds, memory):
            ax.set_ylim(bottom=0)
            ax.grid(alpha=0.3)
            ax.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
