"""
What finds wrong labels: flips some labels of SST-2, trains on them, and ranks the training examples by their
self-influence under several solvers, by loss, and by what they do to a clean dev set.

    .venv/bin/python benchmarks/label_errors.py ../shared/data/sst2 -s out/label_errors --examples 1000 --flips 0.1 --seeds 0 1 2

For each way the area under the ROC curve and the share of flips found among the first 10 and 20 % of the ranking, over
the seeds (of sample, flips and training) with their standard deviation. Models and factors are kept in the directory.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import numpy
from allennlp.commands.train import train_model
from allennlp.common import Params
from allennlp.common.plugins import import_plugins
from allennlp.interpret import InfluenceInterpreter
from allennlp.models.archival import load_archive
from sklearn.metrics import roc_auc_score

import_plugins()

SELF = {
    "identity": {"type": "identity"},
    **{f"ek-fac, λ = {d:g}": {"type": "ek-fac", "damping": d} for d in (30, 0.1)},
    **{
        f"gauss-newton, λ = {d:g}": {"type": "gauss-newton", "damping": d}
        for d in (30, 10, 1, 0.1, 0.03, 0.01, 1e-3)
    },
}
OPPOSING = {
    "identity": {"type": "identity"},
    **{
        f"gauss-newton, λ = {d:g}": {"type": "gauss-newton", "damping": d}
        for d in (30, 0.1)
    },
}


def flipped(data: Path, folder: Path, num_examples: int, share: float, seed: int) -> List[bool]:
    """Writes train.tsv with some labels flipped; which."""
    with open(data / "train.tsv", encoding="utf-8") as file:
        header, *rows = file.read().splitlines()
    generator = random.Random(seed)
    chosen = generator.sample(rows, num_examples)
    wrong = set(generator.sample(range(num_examples), int(share * num_examples)))
    lines = [header]
    for i, row in enumerate(chosen):
        text, label = row.split("\t")
        lines.append(f"{text}\t{1 - int(label) if i in wrong else label}")
    (folder / "train.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [i in wrong for i in range(num_examples)]


def archive_of(folder: Path, data: Path, seed: int, epochs: int) -> Path:
    archive = folder / "model" / "model.tar.gz"
    if not archive.exists():
        variables = {
            "ENCODER": "minilm",
            "FROZEN_LAYERS": "4",
            "TRAIN_DATA": str(folder / "train.tsv"),
            "DEV_DATA": str(data / "dev.tsv"),
            "TRAIN_SIZE": "1000000",
            "LEARNING_RATE": "",
            "EPOCHS": str(epochs),
            "SEED": str(seed),
        }
        config = Path(__file__).parents[1] / "training_configs" / "sst2_bert.jsonnet"
        params = Params.from_file(config, ext_vars=variables)
        train_model(params, folder / "model", force=True)
    return archive


def evidence(
    archive: Path, folder: Path, data: Path, num_queries: int
) -> Iterator[Tuple[str, numpy.ndarray]]:
    """Ways to rank training examples, `(N,)` each, the most suspicious highest."""

    def interpreter(solver, **options):
        overrides = {"validation_dataset_reader.max_instances": num_queries}
        loaded = load_archive(archive, overrides=json.dumps(overrides))
        return InfluenceInterpreter.from_archive(
            loaded,
            interpreter_name="influence-functions",
            train_data_path=str(folder / "train.tsv"),
            solver=dict(solver),
            cache_dir=str(folder / "cache"),
            **options,
        )

    yield "loss", interpreter({"type": "identity"}).training_losses
    for name, solver in SELF.items():
        yield f"self-influence: {name}", interpreter(solver).self_influence.double().numpy()
    for name, solver in OPPOSING.items():
        explained = interpreter(solver, label="gold").interpret_from_file(data / "dev.tsv", k=0)
        total = sum(explanation.scores.astype(float) for explanation in explained)
        yield f"opposing influence: {name}", -total


def measures(scores: numpy.ndarray, wrong: List[bool]) -> List[float]:
    """AUC, and the share of wrong labels in the first 10 and 20 % of the ranking."""
    ranked = numpy.array(wrong)[numpy.argsort(-scores, kind="stable")]
    found = [ranked[: len(ranked) * part // 10].sum() / ranked.sum() for part in (1, 2)]
    return [roc_auc_score(wrong, scores), *found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("data", type=Path)
    parser.add_argument("-s", "--serialization-dir", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--flips", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    found: Dict[str, List[List[float]]] = {}
    for seed in args.seeds:
        name = f"{args.examples}-{args.flips:g}-{args.epochs}-{seed}"
        folder = args.serialization_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        wrong = flipped(args.data, folder, args.examples, args.flips, seed)
        archive = archive_of(folder, args.data, seed, args.epochs)
        for way, scores in evidence(archive, folder, args.data, args.queries):
            found.setdefault(way, []).append(measures(scores, wrong))
            print(f"seed {seed}  {way:44s}", *(f"{value:.3f}" for value in found[way][-1]), flush=True)
    print("way | AUC | found at 10 % | at 20 %")
    for way, values in found.items():
        mean, deviation = numpy.mean(values, axis=0), numpy.std(values, axis=0)
        print(way, *(f"{m:.3f} ± {d:.3f}" for m, d in zip(mean, deviation)), sep=" | ")


if __name__ == "__main__":
    main()
