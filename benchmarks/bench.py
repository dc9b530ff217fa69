"""
Measures this package and others on one trained model and the same data; see benchmarks/README.md.

    make bench DATA=../shared/data N=10000 Q=50
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy
from scipy.stats import spearmanr

from measure import Result, measured
from report import closing_line, print_report

ROOT = Path(__file__).resolve().parents[1]
WORK = Path(".bench")
DAMPING = 30.0  # the paper's 3e-3 · 1e4
LOW_DAMPING = 0.1  # at which curvature matters, and scores predict best what retraining does
ENOUGH = 0.99  # Spearman correlation with the exact scores


@dataclass(frozen=True)
class Sizes:
    """How much of everything is run."""

    num_examples: int
    num_queries: int
    exact_queries: int = 4
    sample: int = 1000  # training examples that a solver's curvature is the mean of
    lissa_steps: int = 15
    train_gradients: int = 30
    simple_examples: int = 150
    kronfluence_examples: int = 600
    tracin_examples: int = 300

    def quick(self) -> "Sizes":
        """A run to see whether everything works; its figures mean nothing."""
        return replace(
            self,
            num_examples=64,
            num_queries=2,
            exact_queries=1,
            sample=24,
            lissa_steps=2,
            train_gradients=3,
            simple_examples=8,
            kronfluence_examples=24,
            tracin_examples=24,
        )


def candidates(sizes: Sizes) -> Dict[str, Dict[str, Any]]:
    """Solvers of the paper's system, by what the table calls them."""
    sample = min(sizes.sample, sizes.num_examples)
    half = max(1, sample // 2)
    gauss_newton = {"curvature": "gauss-newton", "rank": 8, "block_size": 8, "steps": 3}
    hessian = {"curvature": "hessian", "rank": 8, "block_size": 4, "steps": 4}
    named = {
        f"spectral, Gauss-Newton of {half:,}": {
            "type": "spectral",
            "num_examples": half,
            **gauss_newton,
        },
        f"spectral, Gauss-Newton of {sample:,}": {
            "type": "spectral",
            "num_examples": sample,
            **gauss_newton,
        },
        f"spectral, Hessian of {sample:,}": {
            "type": "spectral",
            "num_examples": sample,
            **hessian,
        },
        f"conjugate-gradient, Hessian of {sample:,}": {
            "type": "conjugate-gradient",
            "num_examples": sample,
            "tolerance": 0.1,
        },
        f"gauss-newton of {sample:,}": {"type": "gauss-newton", "num_examples": sample},
        "ek-fac": {"type": "ek-fac"},
        "identity": {"type": "identity"},
    }
    return {name: {**solver, "damping": DAMPING} for name, solver in named.items()}


class Bench:
    """
    One run.

    # Parameters

    archive, train_data, inputs : `Path`
    sizes : `Sizes`
    name : `str`
        Of the folder in .bench for logs and scores.
    """

    def __init__(
        self, archive: Path, train_data: Path, inputs: Path, sizes: Sizes, name: str
    ) -> None:
        self.archive, self.train_data, self.inputs, self.sizes = archive, train_data, inputs, sizes
        self.folder = WORK / name
        self.rows: List[Result] = []

    def subject(self, num_examples: Optional[int] = None, num_queries: Optional[int] = None):
        """The arguments of `Subject`."""
        return [
            str(self.archive),
            str(self.train_data),
            str(self.inputs),
            num_examples or self.sizes.num_examples,
            num_queries or self.sizes.num_queries,
        ]

    def run(self) -> None:
        """Everything, one after the other."""
        sizes = self.sizes
        self.exact = self._measure(
            "exact",
            "conjugate-gradient to 1e-6, Hessian of all",
            damping=DAMPING,
            num_queries=min(sizes.exact_queries, sizes.num_queries),
            folder=str(WORK / "exact" / self._fingerprint()),
            scores=True,
        )
        self.scoring = self._measure("scoring_rate", "scoring pass alone")
        self.ours = {
            number: {name: self._ours(name, solver, number) for name, solver in self._solvers()}
            for number in sorted({sizes.num_queries, 1}, reverse=True)
        }
        self._against_the_paper()
        self._against_allennlp()
        self._against_kronfluence()
        self._against_captum()

    def summary(self) -> Dict[str, Any]:
        """What the closing line says, and the same under other conditions."""
        many, one = self._chosen(self.sizes.num_queries), self._chosen(1)
        ek_fac = self.ours[self.sizes.num_queries]["ek-fac"]
        return {
            "chosen": many.get("name"),
            "chosen_for_one_query": one.get("name"),
            f"chosen_reach_{ENOUGH}": self._reaches(many) and self._reaches(one),
            "speedup_vs_paper": _ratio(self.paper, many),
            "speedup_vs_paper_for_one_query": _ratio(self.paper, one, "seconds_of_one"),
            "speedup_vs_allennlp": _ratio(self.simple, many),
            "speedup_vs_allennlp_at_its_default_depth": _ratio(
                self.simple, many, "seconds_at_default_depth"
            ),
            "speedup_vs_allennlp_for_one_query": _ratio(self.simple, one, "seconds_of_one"),
            "speedup_vs_kronfluence": _ratio(self.kronfluence, ek_fac),
            "speedup_vs_kronfluence_as_run": _ratio(
                self.kronfluence, self.same_size[DAMPING], "seconds_as_run"
            ),
            "spearman_vs_exact": many.get("lowest_spearman"),
            "spearman_vs_kronfluence": self.kronfluence.get("spearman"),
            "spearman_of_identity_vs_captum": self.captum.get("spearman"),
            "gflops_fraction": self.scoring.get("fraction"),
            "same_threads": len({row["threads"] for row in self.rows if "threads" in row}) == 1,
        }

    def _solvers(self):
        return candidates(self.sizes).items()

    def _ours(self, name: str, solver: Dict[str, Any], num_queries: int) -> Result:
        subject = self.subject(num_queries=num_queries)
        row = self._measure("ours", name, subject, scores=True, solver=solver)
        if "error" not in row and "error" not in self.exact:
            found, exact = numpy.load(row["scores_file"]), numpy.load(self.exact["scores_file"])
            agreement = _spearman(found, exact)
            row["spearman"] = float(numpy.mean(agreement))
            row["lowest_spearman"] = min(agreement)
        return row

    def _chosen(self, num_queries: int) -> Result:
        """
        The fastest of the solvers that rank as the exact system does; if none of them does, the one that comes nearest.
        """
        rows = [row for row in self.ours[num_queries].values() if "lowest_spearman" in row]
        good = [row for row in rows if self._reaches(row)]
        if good:
            return min(good, key=lambda row: row["seconds"])
        return max(rows, key=self._agreement, default={})

    def _reaches(self, row: Result) -> bool:
        return self._agreement(row) >= ENOUGH

    def _agreement(self, row: Result) -> float:
        """The lowest over all queries that were solved exactly: a solver does the same for one as for many."""
        judged = self.ours[self.sizes.num_queries].get(row.get("name"), {})
        return judged.get("lowest_spearman", -1.0)

    def _against_the_paper(self) -> None:
        self.paper = self._measure(
            "opponents.paper",
            "the paper's algorithm",
            lissa_steps=self.sizes.lissa_steps,
            train_gradients=self.sizes.train_gradients,
        )
        self._row_of_one(self.paper, "seconds_of_one")

    def _against_allennlp(self) -> None:
        self.simple = self._measure(
            "opponents.allennlp_simple",
            "AllenNLP simple-influence, 2,500 steps",
            run_examples=self.sizes.simple_examples,
            lissa_steps=self.sizes.lissa_steps,
        )
        self._row_of_one(self.simple, "seconds_of_one")
        if "error" not in self.simple:
            name = f"AllenNLP simple-influence, its {self.simple['default_depth']} steps"
            seconds = self.simple["seconds_at_default_depth"]
            self._add({**self.simple, "name": name, "seconds": seconds})
            self._row_of_one(self.rows[-1], "seconds_of_one_at_default_depth")

    def _against_kronfluence(self) -> None:
        size = min(self.sizes.kronfluence_examples, self.sizes.num_examples)
        dampings = [DAMPING, LOW_DAMPING]
        self.kronfluence = self._measure(
            "opponents.kronfluence_ekfac",
            "kronfluence EK-FAC, frozen layers given",
            scores=True,
            sizes=[size // 3, size],
            dampings=dampings,
        )
        self.same_size = {
            damping: self._measure(
                "ours",
                f"ek-fac, λ = {damping:g}, N = {size}",
                self.subject(size),
                scores=True,
                solver={"type": "ek-fac", "damping": damping},
            )
            for damping in dampings
        }
        if "error" in self.kronfluence:
            return
        theirs = numpy.load(self.kronfluence["scores_file"])
        self.kronfluence["spearman"] = {}
        for scores, (damping, ours) in zip(theirs, self.same_size.items()):
            if "error" not in ours:
                agreement = _spearman(numpy.load(ours["scores_file"]), scores)
                self.kronfluence["spearman"][f"{damping:g}"] = float(numpy.mean(agreement))

    def _against_captum(self) -> None:
        size = min(self.sizes.tracin_examples, self.sizes.num_examples)
        self.captum = row = self._measure(
            "opponents.captum_tracin",
            "captum TracInCP, frozen layers given",
            scores=True,
            run_examples=size,
        )
        ours = self._measure(
            "ours",
            f"identity, N = {size}",
            self.subject(size),
            scores=True,
            solver={"type": "identity", "damping": DAMPING},
        )
        if "error" not in row and "error" not in ours:
            scores = numpy.load(row["scores_file"]), numpy.load(ours["scores_file"])
            row["spearman"] = float(numpy.mean(_spearman(*scores)))

    def _measure(
        self,
        module: str,
        name: str,
        subject: Optional[List[Any]] = None,
        scores: bool = False,
        **job: Any,
    ) -> Result:
        subject = subject or self.subject()
        file = "".join(c if c.isalnum() else "-" for c in f"{name} Q {subject[-1]}")
        if scores:
            job["scores_file"] = str(self.folder / f"{file}.npy")
        print(f"{name}, Q = {subject[-1]} … ", end="", flush=True)
        row = measured(module, file, self.folder, {"subject": subject, **job})
        row = {"name": name, "module": module, "queries": subject[-1], **row}
        row["examples"] = subject[-2]
        row.update({key: job[key] for key in ("solver", "scores_file") if key in job})
        print(row.get("error") or f"{row['process_seconds']:.1f} s", flush=True)
        return self._add(row)

    def _row_of_one(self, row: Result, key: str) -> None:
        if "error" not in row and self.sizes.num_queries > 1:
            self._add({**row, "queries": 1, "seconds": row[key]})

    def _add(self, row: Result) -> Result:
        self.rows.append(row)
        return row

    def _fingerprint(self) -> str:
        """What the exact scores depend on: the archive, the data and the code."""
        digest = hashlib.sha256(f"{self.sizes.num_examples} {DAMPING}".encode())
        package = ROOT / "allennlp_influence"
        code = [ROOT / "benchmarks" / "exact.py", package / "commands" / "influence.py"]
        code += sorted([*package.glob("engine/*.py"), *package.glob("influence/*.py")])
        for path in [self.archive, self.train_data, self.inputs, *code]:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


def _spearman(ours: numpy.ndarray, theirs: numpy.ndarray) -> List[float]:
    """Of every query that both have."""
    return [float(spearmanr(a, b)[0]) for a, b in zip(ours, theirs)]


def _ratio(slow: Result, fast: Result, key: str = "seconds") -> Optional[float]:
    return slow[key] / fast["seconds"] if key in slow and "seconds" in fast else None


def trained_archive(data: Path, folder: Path, quick: bool) -> Path:
    """The model that is explained, trained as the project's own configuration says if it is not there."""
    archive = folder / "model.tar.gz"
    if not archive.exists():
        defaults = {
            "ENCODER": "minilm",
            "TRAIN_DATA": str(data / "train.tsv"),
            "DEV_DATA": str(data / "dev.tsv"),
        }
        if quick:
            defaults.update(TRAIN_SIZE="64", EPOCHS="1")
        print(f"training {archive}: some minutes", flush=True)
        command = ["train", "training_configs/sst2_bert.jsonnet", "-s", str(folder), "--force"]
        subprocess.run(
            [sys.executable, "-m", "allennlp", *command], env={**defaults, **os.environ}, check=True
        )
    return archive


def machine() -> Dict[str, Any]:
    """What the figures were measured on."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        cpu = models[0] if models else cpu
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "kronfluence", "captum")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv, dev.tsv")
    parser.add_argument("--archive", type=Path, help="a trained model; by default one is trained")
    parser.add_argument("--examples", type=int, default=10_000, help="N, the first of train.tsv")
    parser.add_argument("--queries", type=int, default=50, help="Q, the first of dev.tsv")
    parser.add_argument("--exact-queries", type=int, default=4, help="how many are solved exactly")
    parser.add_argument("--quick", action="store_true", help="see whether everything works")
    args = parser.parse_args()
    for name in ("train.tsv", "dev.tsv"):
        if not (args.data / name).exists():
            parser.error(f"there is no {args.data / name}: name the folder that has it by --data")
    data, given = args.data.resolve(), args.archive and args.archive.resolve()
    os.chdir(ROOT)
    sizes = Sizes(args.examples, args.queries, args.exact_queries)
    name = "quick" if args.quick else "run"
    if args.quick:
        sizes = sizes.quick()
    folder = WORK / ("quick-model" if args.quick else "model")
    archive = given or trained_archive(data, folder, args.quick)

    about = machine()
    bench = Bench(archive, data / "train.tsv", data / "dev.tsv", sizes, name)
    bench.run()
    summary = bench.summary()
    results = {
        "machine": about,
        "sizes": asdict(sizes),
        "summary": summary,
        "rows": [{k: v for k, v in row.items() if k != "scores_file"} for row in bench.rows],
    }
    path = WORK / "quick.json" if args.quick else ROOT / "benchmarks" / "results" / "latest.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print_report(results)
    print(f"all of it: {path}")
    print(closing_line(summary))
    if any("error" in row for row in bench.rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
