"""
Makes docs/validation.md of what benchmarks/validation.py and `allennlp validate-influence` have left in
benchmarks/results/validation-*.json: `.venv/bin/python benchmarks/validation_page.py`.
"""

import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
NAMES = {"sst2": "SST-2", "mnli": "MultiNLI (entailment or not)"}

INTRODUCTION = """# Do the scores predict retraining?

The linear datamodeling score (LDS): train again on random halves of the training data, several seeds each; for every query,
the Spearman correlation over the halves of what the scores predict (the sum over what is left out) with what the retrained models
say: the margin of the explained label, mean over the seeds. The mean over the queries, with a 95 % interval that resamples
queries and halves; what is compared is on the same queries, halves and resamples. "Single" explains one model at a time (mean over
the explained models), "averaged" adds up the scores of all of them. All tools explain the same models; how each is called, and
what of its defaults is not kept, is said in `benchmarks/opponents/`. RelatIF divides the scores by the square root of an example's
self-influence: for `identity` that is the cosine of the gradients.

The tables below are written by `benchmarks/validation_page.py` from what `benchmarks/validation.py` and `allennlp validate-influence`
measured.
"""

_AT_CHECKPOINTS = """"At checkpoints" is the mean of the scores at the ends of the {} epochs, as `influence --checkpoints` takes it (TracIn, Pruthi et
al. 2020, is that with the solver `identity`), for the best two of the other tools as well; the rest explains the model as it is after
the last epoch. The same models, halves and queries as above.
"""


def main() -> None:
    parts = [INTRODUCTION]
    for name, title in NAMES.items():
        for suffix, heading in (("", title), ("-checkpoints", f"{title}: explained while it was trained")):
            if (found := _read(f"validation-{name}{suffix}")) is not None:
                parts.append("\n".join(_data_set(heading, found)))
    others = (
        ("lds", _lds),
        ("lds-3-models", _lds),
        ("mislabel", _mislabel),
        ("mislabel-3-models", _mislabel),
        ("leave-one-out", _left_out),
        ("pbrf", _left_out),
    )
    for method, make in others:
        for name, title in NAMES.items():
            if (found := _read(f"validation-{name}-{method}")) is not None:
                parts.append("\n".join(make(title, found)))
    path = ROOT / "docs" / "validation.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    print(path)


def _read(name: str) -> Optional[Dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _data_set(title: str, found: Mapping[str, Any]) -> Iterator[str]:
    margin = found["measures"]["margin"]
    rows = margin["rows"]
    yield f"## {title}\n"
    yield (
        f"MiniLM, 4 of 6 layers frozen; {found['archive_examples']:,} training examples, {found['queries']} queries, "
        f"{found['subsets']} halves × {found['seeds']} seeds, {found['explained']} explained models.\n"
    )
    if found.get("epochs"):
        yield _AT_CHECKPOINTS.format(found["epochs"])
    ceiling = margin["ceiling"]
    if ceiling is not None:
        halves = ceiling["agreement_of_halves"]
        yield (
            f"The ceiling: the retrained models' own two halves of the seeds agree to {_value(halves)}; what even the "
            f"expected output would reach is {ceiling['ceiling']:.3f}.\n"
        )
    yield "| | λ | single | averaged | explained models one by one |\n|---|---|---|---|---|"
    shown = sorted((r for r in rows if r.get("lds")), key=lambda row: -row["lds"]["mean"])
    for row in shown:
        name = f"*{row['name']}*" if row["peer"] else row["name"]
        if row is rows[margin["best"]]:
            name = f"**{name}**"
        models = " ".join(f"{own['mean']:.3f}" for own in row["by_model"])
        yield f"| {name} | {_damping(row)} | {_value(row['lds'])} | {_value(row['lds_of_averaged'])} | {models} |"
    failed: Dict[str, List[str]] = {}
    for row in rows:
        if not row.get("lds"):
            failed.setdefault(row["name"], []).append(f"{row['damping']:g}")
    for name, dampings in failed.items():
        yield f"\n`{name}` has no solution at λ = {', '.join(dampings)} (negative curvature); it says so."
    yield ("\nPeers in italics. " if any(row["peer"] for row in rows) else "\n") + "Against the best of ours (bold):\n"
    yield "| | difference | ratio | aim |\n|---|---|---|---|"
    paper, peer = rows[margin["paper"]], margin["best_peer"] is not None and rows[margin["best_peer"]]
    plain = rows[margin["best_plain_peer"]] if margin.get("best_plain_peer") is not None else peer
    yield _comparison(f"single, against {paper['name']} at the paper's λ = 30", margin["best_vs_paper"])
    yield _comparison("averaged, against the same, single", margin["averaged_vs_paper"], "3 ×")
    if peer:
        yield _comparison(f"single, against {peer['name']} at its best damping, single", margin["best_vs_peer"], "1.3 ×")
        yield _comparison("averaged, against the same, single", margin["averaged_vs_peer"])
        yield _comparison("averaged, against the same, averaged", margin["averaged_vs_averaged_peer"])
        if plain is not peer:
            yield _comparison(f"single, against {plain['name']} after training", margin["best_vs_plain_peer"], "1.3 ×")
            yield _comparison("averaged, against the same, single", margin["averaged_vs_plain_peer"])
    loss = found["measures"]["loss"]
    best = loss["rows"][loss["best"]]
    yield (
        f"\nBy the loss in place of the margin the best of ours is {best['name']} at λ = {_damping(best)}, "
        f"{_value(best['lds'])}, {loss['best_vs_paper']['ratio']['mean']:.2f} × the paper's λ"
        + (f" and {loss['best_vs_peer']['ratio']['mean']:.2f} × the best peer." if peer else ".")
    )
    yield ""


def _comparison(what: str, compared: Mapping[str, Any], aim: str = "") -> str:
    difference, ratio = compared["difference"], compared["ratio"]
    return (
        f"| {what} | {difference['mean']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f}) | "
        f"{ratio['mean']:.2f} × ({ratio['low']:.2f} to {ratio['high']:.2f}) | {aim} |"
    )


def _lds(title: str, found: Mapping[str, Any]) -> Iterator[str]:
    models = "one explained model" if found["explained"] == 1 else f"{found['explained']} explained models"
    if found["device"] == "cpu":  # as those of validation.py
        where = "the first of those above" if found["explained"] == 1 else "those above"
    else:
        where = f"trained and explained on an {found['device']}, so other than above"
    yield f"## The Hessian: {title}, {models}\n"
    yield (
        "Solvers with the Hessian beside the Gauss-Newton matrix, of the same sample and on the same bank "
        f"({found['examples']:,} training examples, {found['subsets']} halves × {found['seeds']} seeds), at {models}, "
        f"{where}. What serves several λ is in the seconds of the first one computed{found.get('remark', '')}.\n"
    )
    yield "| | λ | LDS | below the best | largest residual | seconds |\n|---|---|---|---|---|---|"
    for row in found["rows"]:
        name = f"| {row['name']} | {_damping(row)} |"
        if row["lds"] is None:
            yield f"{name} {row['error']} | | | |"
            continue
        residual = "" if row["residual"] is None else f"{row['residual']:.1g}"
        yield f"{name} {_value(row['lds'])} | {_value(row['below_best'])} | {residual} | {row['seconds']:.0f} |"
    yield ""


def _mislabel(title: str, found: Mapping[str, Any]) -> Iterator[str]:
    several = found["seeds"] > 1
    models = f"{found['seeds']} models are" if several else "one model is"
    yield f"## Wrong labels found: {title}{', several models with the same ones' * several}\n"
    yield (
        f"{found['examples']:,} training examples with other labels at random for a share of them, {found['explained']} times; "
        f"{models} trained on each set of labels. AUC and the share of the wrong labels among the first 10 % and 20 % looked "
        "at: mean (least to most)"
        + (
            ", at each model and by the evidence of all with the same labels. Over these, probabilities and scores have their "
            "arithmetic mean, self-influence its geometric one.\n"
            if several
            else ".\n"
        )
    )
    yield "| wrong | evidence | λ | models | AUC | found in 10 % | in 20 % |\n|---|---|---|---|---|---|---|"
    for row in found["rows"]:
        name = row["evidence"] + (f", {row['solver']}" if row["solver"] else "")
        damping = f"{row['damping']:g}" if row["damping"] is not None and row["solver"] != "identity" else ""
        in10, in20 = (row["found"][share] for share in sorted(row["found"]))
        yield (
            f"| {row['wrong']:.0%} | {name} | {damping} | {row['models']} | {_spread(row['auc'])} | {_spread(in10, '{:.0%}')} | "
            f"{_spread(in20, '{:.0%}')} |"
        )
    yield ""


def _left_out(title: str, found: Mapping[str, Any]) -> Iterator[str]:
    one = found["method"] == "leave-one-out"
    yield f"## {'Leave-one-out of the last layer' if one else 'Proximal Bregman response'}: {title}\n"
    if one:
        what = (
            "The last layer by itself, trained to its optimum with λ/2 ‖θ‖² added to the mean loss, and again without "
            "single examples: what exact scores are the derivative of."
        )
    else:
        left = max(row["gradient_left"] for row in found["rows"] if "gradient_left" in row)
        what = (
            "All trained layers moved to the optimum of the proximal Bregman objective without single examples (Bae et al. "
            f"2022), up to a gradient of {left:.1g} of the first."
        )
    yield (
        f"{what} {found['examples']:,} training examples, {found['queries']} queries; half of the examples left out are those with "
        "the largest loss, the others are random. Means over the queries; the slope is that of the measured rises of the loss on the "
        "scores, and 1 where these have the right size.\n"
    )
    keys = ("pearson", "spearman", "slope")
    yield "| | λ | " + " | ".join(key.capitalize() for key in keys) + " | largest rise measured |"
    yield "|---" * (3 + len(keys)) + "|"
    for row in found["rows"]:
        if "error" in row:
            yield f"| {row['name']} | {row['damping']:g} | {row['error']} |" + " |" * len(keys)
            continue
        values = " | ".join(f"{row[key]:.4f}" for key in keys)
        yield f"| {row['name']} | {row['damping']:g} | {values} | {row['largest']:.2g} |"
    yield ""


def _value(summary: Mapping[str, float]) -> str:
    return f"{summary['mean']:.3f} ({summary['low']:.3f} to {summary['high']:.3f})"


def _spread(summary: Mapping[str, float], form: str = "{:.3f}") -> str:
    low, high = (form.format(summary[key]) for key in ("min", "max"))
    return f"{form.format(summary['mean'])} ({low} to {high})"


def _damping(row: Mapping[str, Any]) -> str:
    return "" if row["damping"] is None or row["name"].startswith("identity") else f"{row['damping']:g}"


if __name__ == "__main__":
    main()
