"""The tables of docs/paper.md, each number from paper.json beside the paper's own."""

from typing import Any, Dict, Iterable

from allennlp.common.util import JsonDict

from allennlp_influence.analysis.consistency import (
    FLIPS,
    HELD,
    INFLUENCE,
    INFLUENCE_SHARES,
    MACRO,
    OVERLAP,
    OVERLAP_SHARES,
    POOLED,
    PREDICTED,
)
from allennlp_influence.analysis.removal import CONTROLS, NEAR_ZERO, NEGATIVE, POSITIVE, RANDOM
from allennlp_influence.analysis.salient_tokens import CHOICES
from paper.collect import COMPARED_SHARE
from paper.findings import Claim, findings
from paper.markdown import interval, number, row_of, table
from paper.removal import GROUPS, PAPERS_MEASURE


def finding_table(content: JsonDict) -> str:
    """Each finding, and what has become of it at each λ."""
    dampings = list(content["consistency"])
    found = [findings(content, damping) for damping in dampings]
    rows = []
    for of_damping in zip(*found):
        row = [of_damping[0].statement, of_damping[0].where]
        for finding in of_damping:
            row.append("<br>".join([f"**{finding.verdict}**", *map(_claim, finding.claims)]))
        rows.append(row)
    return table(["the paper's finding", "where", *(f"λ = {d}" for d in dampings)], rows)


def differences(content: JsonDict) -> str:
    """In words, which findings fare differently at different λ."""
    found = [findings(content, damping) for damping in content["consistency"]]
    changed = [
        f"{of_damping[0].where} ({', '.join(f.verdict for f in of_damping)}): {of_damping[0].statement}"
        for of_damping in zip(*found)
        if len({finding.verdict for finding in of_damping}) > 1
    ]
    dampings = " and ".join(content["consistency"])
    if not changed:
        return f"The verdicts are the same at λ = {dampings}.\n"
    return f"The verdicts differ at λ = {dampings} on:\n\n" + "".join(f"- {line}\n" for line in changed)


def between_table(content: JsonDict) -> str:
    """How alike the scores are at two λ."""
    rows = [
        [
            found["run"],
            " and ".join(found["dampings"]),
            number(found["spearman"]),
            number(found["least spearman"]),
            number(100 * found["top overlap"], 1),
        ]
        for found in content["between"]
    ]
    top = f"the top {COMPARED_SHARE:.0%} in common, %"
    return table(["inputs", "λ", "Spearman, mean over inputs", "least", top], rows)


def _claim(claim: Claim) -> str:
    return f"{claim.name}: {interval(claim._asdict(), claim.digits, claim.scale)}{claim.unit}"


def accuracy_table(content: JsonDict, published: JsonDict) -> str:
    """With Wilson's intervals."""
    names = {"SST-2 dev": "sst2", "MultiNLI matched": "mnli"}
    rows = []
    for name, found in content["accuracy"].items():
        paper = published["accuracy"].get(names.get(name))
        percent = {key: None if found[key] is None else 100 * found[key] for key in ("value", "low", "high")}
        rows.append(
            [name, interval(percent, 1), str(found["n"]), "" if paper is None else number(100 * paper, 1)]
        )
    return table(["data", "accuracy, % [95 %]", "n", "paper (BERT-base)"], rows)


def run_table(content: JsonDict) -> str:
    """How each system was solved."""
    rows = []
    for damping, runs in content["runs"].items():
        for run, found in runs.items():
            agreement = found["agreement with gradient products"]
            half = found["agreement with half of the curvature"]
            rows.append(
                [
                    damping,
                    run,
                    f"{found['predicted right']} of {found['queries']}",
                    f"{found['solver']['type']}, {found['curvature']} of {found['solver'].get('num_examples') or 'all'}",
                    number(found["lambda_max"], 1),
                    f"{found['largest residual']:.1e}",
                    " ".join(number(value, 2) for value in agreement),
                    " ".join(number(value, 2) for value in half),
                ]
            )
    columns = ["λ", "inputs", "predicted right", "solver", "λ_max met", "largest residual measured"]
    return table(
        [*columns, "Spearman with gradient products, four inputs", "with half of the curvature"], rows
    )


_NAMES = {POSITIVE: "positive", NEGATIVE: "negative", NEAR_ZERO: "zero", RANDOM: "random"}


def removal_table(content: JsonDict, published: JsonDict, run: str) -> str:
    """Table 1 or 2: changes of confidence in the reference model's decision, and their differences from random."""
    papers = published["removal"][run]
    done = [found[run] for found in content["removal"].values() if run in found]
    if not done:
        return "Nothing is retrained yet.\n"
    rows = []
    for group, control in [(g, None) for g in GROUPS] + [c for c in CONTROLS if set(c) <= set(GROUPS)]:
        paper = ["", ""]
        if control is None and group in _NAMES:
            value, error = papers[_NAMES[group]]
            paper = [f"{number(value, 2)} ± {number(error, 2)}", str(papers["n"])]
        row = [group if control is None else f"{group} − {control}", *paper]
        for found in content["removal"].values():
            estimate = row_of(
                found.get(run, {"table": []})["table"],
                removed=group,
                versus=control,
                measure=PAPERS_MEASURE,
            )
            row += ["–", ""] if estimate is None else [
                interval(estimate, 2, 100),
                f"{estimate['n']} of {estimate['clusters']}",
            ]
        rows.append(row)
    columns = ["removed", "paper ± s.e.", "n"]
    for damping in content["removal"]:
        columns += [f"λ = {damping} [95 %]", "pairs of inputs"]
    models = "; ".join(
        f"λ = {damping}: {found[run]['models']['trained']} of {found[run]['models']['planned']} models trained ("
        + ", ".join(f"{count} on {device}" for device, count in found[run]["models"]["devices"].items())
        + "), seeds "
        + ", ".join(map(str, found[run]["seeds"]))
        for damping, found in content["removal"].items()
        if run in found
    )
    first = done[0]
    return (
        table(columns, rows)
        + f"\n{first['removed_examples']:,} of {first['training_examples']:,} training examples; retrainer "
        f"`{first['retrainer']}`; {models}.\n"
    )


def remaining(content: JsonDict) -> str:
    """How many models the whole protocol takes, where it was begun."""
    rows = []
    for damping, runs in content["removal"].items():
        for run, found in runs.items():
            models = found["models"]
            each = models["seconds"] / max(1, models["trained"])
            left = models["planned"] - models["trained"]
            rows.append(
                [
                    damping,
                    run,
                    f"{models['trained']:,} of {models['planned']:,}",
                    number(each, 0),
                    number(left * each / 3600, 1),
                ]
            )
    if not rows:
        return "No removal is complete yet.\n"
    return table(["λ", "inputs", "models trained", "seconds each", "hours for the others"], rows)


def influence_table(content: JsonDict, published: JsonDict, run: str) -> str:
    """Figure 2 or 3: experiment 1."""
    rows = []
    for top in INFLUENCE_SHARES:
        for choice in CHOICES:
            value, error = published["influence"][run][str(top)][choice]
            row = [f"{top:.0%}", choice, f"{number(value)} ± {number(error)}"]
            for found in _by_key(content, run):
                pooled, macro = (
                    found[INFLUENCE, choice, top, variant] for variant in (POOLED, MACRO)
                )
                row += [interval(pooled), interval(macro), f"{pooled['n']} of {pooled['clusters']}"]
            rows.append(row)
    columns = ["top", "token", "paper, pooled ± s.e."]
    for damping in content["consistency"]:
        columns += [f"λ = {damping}, pooled", "mean of inputs' means", "examples of inputs"]
    return table(columns, rows)


def overlap_table(content: JsonDict, published: JsonDict, run: str) -> str:
    """Table 3 or 4: experiment 2, with flips."""
    rows = []
    for top in OVERLAP_SHARES:
        for choice in CHOICES:
            value = published["overlap"][run][str(top)][choice]
            row = [f"{top:.1%}", choice, number(100 * value, 1)]
            for found in _by_key(content, run):
                free, held = (found[OVERLAP, choice, top, label] for label in (PREDICTED, HELD))
                row += [interval(free, 1, 100), interval(held, 1, 100), str(free["n"])]
            rows.append(row)
    columns = ["top", "token", "paper, %"]
    for damping in content["consistency"]:
        columns += [f"λ = {damping}, %", "label held fixed, %", "inputs"]
    flips = []
    for choice in CHOICES:
        found = next(_by_key(content, run))[FLIPS, choice, None, "share of inputs"]
        flips.append(f"{choice} {interval(found, 0, 100)} %")
    return table(columns, rows) + f"\nPredictions that masking changes: {'; '.join(flips)}.\n"


def _by_key(content: JsonDict, run: str) -> Iterable[Dict[Any, JsonDict]]:
    for of_damping in content["consistency"].values():
        yield {
            (row["experiment"], row["token"], row["top"], row["variant"]): row
            for row in of_damping[run]["table"]
        }


def example_text(content: JsonDict, name: str) -> str:
    """What is predicted for the input of figure 1 or table 5, and where its strongest tokens are."""
    found = next(iter(content["examples"].values()))[name]
    words = [
        (score, f"token {token} ({number(score, 2)})")
        for token, score in zip(found["tokens"], found["saliency"])
        if token.isdigit()
    ]
    return (
        f"Row {found['row']}: gold {found['gold']}, predicted {found['predicted']} with probability "
        f"{number(found['probability'])}. Most positive: {max(words)[1]}; most negative: {min(words)[1]}; tokens are "
        "counted from [CLS], which is 0.\n"
    )


def example_table(content: JsonDict, name: str) -> str:
    """Figure 1 or table 5: the strongest training examples, by row and label."""
    rows = []
    for damping, examples in content["examples"].items():
        found = examples[name]
        for side in ("supporters", "opponents"):
            listed = " · ".join(
                f"{example['id']} [{example['label']}] {number(example['z'], 1)}" for example in found[side]
            )
            rows.append([damping, side, listed])
    return table(["λ", "", "training rows [label] z"], rows)
