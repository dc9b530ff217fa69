"""
Whether scores predict retraining, ours and those of other tools, on the same models, queries and retrained subsets.

    .bench/venv/bin/python benchmarks/validation.py ARCHIVE INPUTS --name sst2 --cache-dir out/bank \\
        --examples 2000 --subsets 100 --seeds 3 --explained 3 -o '{"validation_data_path": null}'

goes on from the bank of `allennlp validate-influence` with the same options (or trains what is missing of it), adds
kronfluence's EK-FAC, captum's TracInCP and Arnoldi, TRAK and dattri's LoGra, each in a process of its own whose scores
are kept, and writes benchmarks/results/validation-NAME.json, which `validation_page.py` makes docs/validation.md of. What the
retrained models predict is in benchmarks/results/bank-NAME.jsonl.gz and is taken up from there: with the same configuration,
data, inputs and versions none of them is trained again. With `--checkpoints` the models are explained at the ends of their epochs
too, ours and the best of the others, averaged: validation-NAME-checkpoints.json. Needs `make bench`'s environment: `sh benchmarks/make_venv.sh`.
"""

import argparse
import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy
import torch
from allennlp.common.plugins import import_plugins

from allennlp_influence.analysis.explained_models import ExplainedModel
from allennlp_influence.analysis.linear_datamodeling import Agreement
from allennlp_influence.analysis.model_bank import ModelBank
from allennlp_influence.analysis.retrainings import JOURNAL
from allennlp_influence.analysis.settings import AT_CHECKPOINTS, Setting, settings
from allennlp_influence.analysis.validate_lds import (
    Measurements,
    scores_of,
    summary,
    validate_lds,
)
from allennlp_influence.commands.validate_influence import with_examples
from allennlp_influence.engine.normalisation import normalised

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAPER = 30.0
DAMPINGS = [30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 1e-3]
# The Hessian of a fine-tuned network is indefinite: below some λ these say that there is no solution.
OURS = [
    "identity",
    {"type": "gauss-newton"},
    {"type": "ek-fac", "damping": [PAPER, 1.0, 0.1, 0.01, 1e-3]},
    {"type": "gauss-newton", "num_examples": 500, "damping": [PAPER, 0.1]},
]
PEERS: Dict[str, Sequence[Optional[float]]] = {
    "kronfluence EK-FAC": [None, 1e-8, 1e-4],
    "TRAK": [None],
    "captum TracInCP": [None],
    "dattri LoGra": [None, 0.1, 1.0, 10.0, 100.0],
    "captum Arnoldi": [None],
}
# With --checkpoints: after training, and on average over the ends of the epochs, also without the last, at which the
# learning rate has come down to nothing.
BUT_THE_LAST = " but the last"
OURS_BESIDE = [{"type": "gauss-newton", "damping": [PAPER, 0.1, 0.03]}]
OURS_AT_CHECKPOINTS = [
    "identity",
    {"type": "gauss-newton", "damping": [0.3, 0.1, 0.03, 0.01]},
]
PEERS_AT_CHECKPOINTS: Dict[str, Sequence[Optional[float]]] = {
    "dattri LoGra": [0.1, 1.0, 10.0],
    "kronfluence EK-FAC": [None],
}
# RelatIF's denominators come from the Gram matrix and the factors at no further cost
RELATIVE = {"gauss-newton": [0.1], "identity": [PAPER]}

Key = Tuple[str, Optional[float], bool]  # a peer, its damping, and whether it is at checkpoints
Scores = Tuple[numpy.ndarray, float]  # `(models, queries, examples)`, and seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("inputs")
    parser.add_argument("--name", required=True, help="of the result")
    parser.add_argument("--cache-dir", required=True, help="where the bank is")
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--subsets", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--explained", type=int, default=3)
    parser.add_argument("--checkpoints", action="store_true", help="at the ends of epochs too")
    parser.add_argument("-o", "--overrides", default="")
    parser.add_argument("--peer", help=argparse.SUPPRESS)  # one of them at one model, in this process
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--epoch", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    import_plugins()
    config = {
        "type": "trained-layers",
        "archive_file": args.archive,
        "input_file": args.inputs,
        "train_data": None,
        "overrides": with_examples(args.overrides, args.examples),
    }
    models = Path(args.cache_dir) / "models"
    _take_up(models, RESULTS / f"bank-{args.name}.jsonl.gz")
    with ModelBank(models, config) as bank:
        measurements = Measurements(bank, args.subsets, args.seeds, args.explained)
        if args.peer:
            return _keep_scores_of_peer(args, bank, measurements)
        epochs: List[Optional[int]] = []  # `None`: as training left the model
        if args.checkpoints:
            model = measurements.models[0]
            epochs = [None if own is model else e for e, own in enumerate(model.by_epoch)]
        ours = settings(OURS_BESIDE if args.checkpoints else OURS, DAMPINGS)
        if args.checkpoints:
            at_checkpoints = settings(OURS_AT_CHECKPOINTS, DAMPINGS)
            ours += [setting._replace(at_checkpoints=True) for setting in at_checkpoints]
        result = {
            "archive_examples": len(bank.retrainer.examples),
            "queries": len(bank.retrainer.queries),
            "subsets": args.subsets,
            "seeds": args.seeds,
            "explained": args.explained,
            "epochs": len(epochs) or None,
            "measures": {},
        }
        directory = bank.directory
    RESULTS.mkdir(parents=True, exist_ok=True)
    journal = (directory / JOURNAL).read_bytes()
    (RESULTS / f"bank-{args.name}.jsonl.gz").write_bytes(gzip.compress(journal, mtime=0))
    path = RESULTS / f"validation-{args.name}{'-checkpoints' * args.checkpoints}.json"
    peers = PEERS_AT_CHECKPOINTS if args.checkpoints else PEERS
    relative = {} if args.checkpoints else RELATIVE
    scores: Dict[Key, Scores] = {}
    for peer in (None, *peers):  # what is there is written before the next, which may take long
        if peer is not None:
            scores.update(_scores_of_peer(args, directory, peer, peers[peer], epochs))
        for measure in ("margin", "loss"):
            with ModelBank(models, config) as bank:
                measurements = Measurements(bank, args.subsets, args.seeds, args.explained, measure)
                result["measures"][measure] = _table(measurements, ours, relative, scores)
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{path}, {peer or 'ours'}", flush=True)


def _take_up(models: Path, shipped: Path) -> None:
    """
    What the retrained models predict, from the repository, to where a bank of its fingerprint looks for it; before that is
    opened, which begins an empty one.
    """
    if not shipped.exists():
        return
    content = gzip.decompress(shipped.read_bytes())
    journal = models / json.loads(content.splitlines()[0])["inputs"]["retrainer"] / JOURNAL
    if not journal.exists():
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.write_bytes(content)


def _table(
    measurements: Measurements,
    ours: Sequence[Setting],
    relative: Dict[str, Sequence[float]],
    peers: Dict[Key, Scores],
) -> Dict[str, Any]:
    """
    Rows, best first, each with the LDS of single explained models (their mean), and of the scores averaged over them; the
    ceiling; and how the best of ours compares with the paper's λ, with the best peer, and with the best that is not at
    checkpoints: differences and ratios of LDS, with intervals from the same resamples of queries and subsets.
    """
    validated = validate_lds(measurements, ours)
    rows, draws = [], {}

    def add(row: Dict[str, Any], scores: numpy.ndarray) -> None:
        single = measurements.score.of_scores(scores)
        averaged = measurements.score.of_scores(scores.mean(0))
        draws[len(rows)] = (single, averaged)
        by_model = [summary(measurements.score.of_scores(one)) for one in scores]
        rows.append(
            {**row, "lds": summary(single), "lds_of_averaged": summary(averaged), "by_model": by_model}
        )

    for row in validated["rows"]:
        own = {k: row[k] for k in ("name", "damping", "at_checkpoints", "seconds")} | {"peer": False}
        if row["lds"] is None:
            rows.append({**own, "error": row["error"]})
            continue
        setting = Setting(row["solver"], [row["damping"]], row["at_checkpoints"])
        add(own, _own_scores(measurements, setting))
        if row["at_checkpoints"]:
            name = row["name"] + BUT_THE_LAST
            add({**own, "name": name, "seconds": None}, _without_the_last(measurements, setting))
    for solver, dampings in relative.items():
        for damping in dampings:
            config = settings([solver])[0].solver
            name = {"name": f"{solver}, RelatIF", "damping": damping, "at_checkpoints": False}
            add({**name, "peer": False, "seconds": None}, _relative(measurements, config, damping))
    for (name, damping, at_checkpoints), (scores, seconds) in peers.items():
        own = {"name": name, "damping": damping, "at_checkpoints": at_checkpoints, "seconds": seconds}
        add({**own, "peer": True}, scores)

    def best(condition) -> int:
        return max((k for k in draws if condition(rows[k])), key=lambda k: draws[k][0].mean)

    chosen = best(lambda row: not row["peer"])
    peer = best(lambda row: row["peer"]) if peers else None
    plain = best(lambda row: row["peer"] and not row["at_checkpoints"]) if peers else None
    paper = best(
        lambda row: row["name"].startswith("gauss-newton")
        and row["damping"] == PAPER
        and not row["at_checkpoints"]
    )
    ceiling = validated["ceiling"]
    found = {"rows": rows, "ceiling": ceiling, "best": chosen, "paper": paper}
    found.update(best_peer=peer, best_plain_peer=plain)
    for name, other in (("paper", paper), ("peer", peer), ("plain_peer", plain)):
        if other is not None:
            found[f"best_vs_{name}"] = _compared(draws[chosen][0], draws[other][0])
            found[f"averaged_vs_{name}"] = _compared(draws[chosen][1], draws[other][0])
            found[f"averaged_vs_averaged_{name}"] = _compared(draws[chosen][1], draws[other][1])
    return found


def _compared(one: Agreement, other: Agreement) -> Dict[str, Any]:
    def interval(draws: numpy.ndarray) -> Dict[str, float]:
        low, high = numpy.percentile(draws, [2.5, 97.5]).tolist()
        return {"low": low, "high": high}

    difference, ratio = one.draws - other.draws, one.draws / other.draws
    return {
        "difference": {"mean": one.mean - other.mean, **interval(difference)},
        "ratio": {"mean": one.mean / other.mean, **interval(ratio)},
    }


def _own_scores(measurements: Measurements, setting: Setting) -> numpy.ndarray:
    """At its only λ."""
    found = [scores_of(model, setting, measurements.labels) for model in measurements.models]
    return numpy.stack([own[setting.dampings[0]].scores for own in found])


def _without_the_last(measurements: Measurements, setting: Setting) -> numpy.ndarray:
    """As `_own_scores`, of the mean at all epochs' ends but the last."""
    damping = setting.dampings[0]

    def at(point: ExplainedModel) -> numpy.ndarray:
        return point.scores(setting.solver, [damping], measurements.labels)[damping].scores

    points = [model.by_epoch[:-1] for model in measurements.models]
    return numpy.stack([numpy.mean([at(point) for point in own], axis=0) for own in points])


def _relative(measurements: Measurements, solver: Dict[str, Any], damping: float) -> numpy.ndarray:
    parts = []
    plain = _own_scores(measurements, Setting(solver, [damping]))
    for model, scores in zip(measurements.models, plain):
        strengths = torch.from_numpy(_self_influence(model, solver, damping))
        parts.append(normalised("relatif", torch.from_numpy(scores).double(), strengths, []).numpy())
    return numpy.stack(parts)


def _self_influence(model: ExplainedModel, solver: Dict[str, Any], damping: float) -> numpy.ndarray:
    def compute() -> Dict[str, torch.Tensor]:
        return {"values": torch.from_numpy(model.self_influence(solver, [damping])[0])}

    name = f"self-influence-{solver['type']}-{damping:g}"
    return model.training_set.store.get(name, compute)["values"].numpy()


def _scores_of_peer(
    args: argparse.Namespace,
    directory: Path,
    name: str,
    dampings: Sequence[Optional[float]],
    epochs: Sequence[Optional[int]],
) -> Dict[Key, Scores]:
    found: Dict[Key, Scores] = {}
    places: Dict[str, Sequence[Optional[int]]] = {"": [None]}
    if epochs:
        places.update({AT_CHECKPOINTS: epochs, AT_CHECKPOINTS + BUT_THE_LAST: epochs[:-1]})
    for where, points in places.items():
        parts = []
        for number in range(args.explained):
            at_each = [_at_a_point(args, directory, name, number, epoch) for epoch in points]
            scores, seconds = zip(*at_each)
            parts.append((numpy.mean(scores, axis=0), sum(seconds)))
        seconds = float(numpy.mean([own for _, own in parts]))
        for place, damping in enumerate(dampings):
            scores = numpy.stack([own[place] for own, _ in parts])
            found[name + where, damping, where != ""] = (scores, seconds)
    return found


def _at_a_point(
    args: argparse.Namespace, directory: Path, name: str, number: int, epoch: Optional[int]
) -> Scores:
    """`(dampings, queries, examples)`."""
    path = _kept(args, directory, name, number, epoch)
    if not path.exists():
        print(f"{name}, model {number}, {'after training' if epoch is None else f'epoch {epoch}'} …", flush=True)
        command = [sys.executable, __file__, *sys.argv[1:], "--peer", name, "--number", str(number)]
        subprocess.run(command + ([] if epoch is None else ["--epoch", str(epoch)]), check=True)
    with numpy.load(path) as kept:
        return kept["scores"], float(kept["seconds"])


def _kept(
    args: argparse.Namespace, directory: Path, name: str, number: int, epoch: Optional[int]
) -> Path:
    point = f"{number}" if epoch is None else f"{number}-epoch{epoch}"
    return directory / f"{name.replace(' ', '-')}{'-few' * args.checkpoints}-{point}.npz"


def _keep_scores_of_peer(args: argparse.Namespace, bank: ModelBank, measurements: Measurements) -> None:
    """Scores `(dampings, queries, examples)` at one of the explained models."""
    from opponents.captum_arnoldi import arnoldi
    from opponents.captum_tracin import tracin
    from opponents.dattri_logra import logra
    from opponents.kronfluence_ekfac import ekfac
    from opponents.trained_layers import query_batch
    from opponents.trak_scores import trak

    model = measurements.models[args.number]
    dampings = (PEERS_AT_CHECKPOINTS if args.checkpoints else PEERS)[args.peer]
    live = bank.retrainer.objective.parameters  # the module's own, which the peers run
    values = bank.parameters(model.retraining)
    if args.epoch is not None:
        values = bank.parameters_by_epoch(model.retraining)[args.epoch]
    with torch.no_grad():
        for name, value in values.items():
            live[name].copy_(value)
    training_set = bank.retrainer.training_set
    relabelled = bank.retrainer.query_set.relabelled(measurements.labels)
    queries = query_batch([relabelled.batch([q]) for q in range(len(measurements.labels))])
    start = time.perf_counter()
    if args.peer in (damped := {"kronfluence EK-FAC": ekfac, "dattri LoGra": logra}):
        _, scores = damped[args.peer](training_set, queries, dampings)
    else:
        peer = {"captum TracInCP": tracin, "captum Arnoldi": arnoldi, "TRAK": trak}[args.peer]
        _, scores = peer(training_set, queries)
        scores = scores[None]
    path = _kept(args, bank.directory, args.peer, args.number, args.epoch)
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        numpy.savez(file, scores=scores.numpy(), seconds=time.perf_counter() - start)
    part.replace(path)


if __name__ == "__main__":
    main()
