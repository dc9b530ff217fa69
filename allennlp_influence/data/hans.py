"""Negated hypotheses for HANS (McCoy et al. 2019), as Han et al. (2020, §5.1) made them."""

import os
from pathlib import Path
from typing import Union

from allennlp.common.checks import ConfigurationError

from allennlp_influence.data.tsv import fail, read_tsv

PathLike = Union[str, os.PathLike]

_IRREGULAR = {
    "ate": "eat",
    "fought": "fight",
    "forgot": "forget",
    "heard": "hear",
    "hid": "hide",
    "knew": "know",
    "left": "leave",
    "paid": "pay",
    "ran": "run",
    "read": "read",
    "said": "say",
    "saw": "see",
    "slept": "sleep",
    "thought": "think",
    "understood": "understand",
    "won": "win",
    "wrote": "write",
}
_REGULAR = """
    admire advise arrive ask assume avoid believe call claim contact dance encourage explain explore help hope
    introduce investigate learn mention move perform present realize recognize recommend remember resign shout
    stop study support thank wait wonder
""".split()


def _past_of(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb == "stop":
        return "stopped"
    return verb[:-1] + "ied" if verb.endswith("y") else verb + "ed"


_BASE_OF = {**{_past_of(verb): verb for verb in _REGULAR}, **_IRREGULAR}


def negate(sentence: str) -> str:
    """
    A simple sentence in the past tense with its verb negated, without contraction: "The lawyer won ." is
    "The lawyer did not win .".

    # Parameters

    sentence : `str`
        With one verb, and that one of HANS's; words separated by spaces, as there.

    # Raises

    `ConfigurationError` if the sentence has no such verb or several.
    """
    words = sentence.split(" ")
    verbs = [i for i, word in enumerate(words) if word in _BASE_OF]
    if len(verbs) != 1:
        found = " and ".join(words[i] for i in verbs) or "none"
        raise ConfigurationError(
            f"{sentence!r} can't be negated: expected one past-tense verb of HANS's vocabulary, found {found}"
        )
    words[verbs[0]] = f"did not {_BASE_OF[words[verbs[0]]]}"
    return " ".join(words)


def negate_file(source: PathLike, target: PathLike) -> int:
    """
    Writes the entailed pairs of a HANS file with negated hypotheses, which the premises then do not entail.
    Everything else of a row stays, the parses of the hypothesis too, which the `nli` reader does not read.

    # Returns

    `int`
        The number of pairs written.

    # Raises

    `ConfigurationError` naming file and line if the file is not HANS's, has no entailed pair, or a hypothesis can't
    be negated.
    """
    lines = []
    for row in read_tsv(str(source)):
        columns = dict(row.columns)
        missing = [name for name in ("gold_label", "sentence2") if name not in columns]
        if missing:
            fail(str(source), row.header, f"expected HANS's columns; there is no {missing[0]!r}")
        if not lines:
            lines.append("\t".join(columns))
        if columns["gold_label"] != "entailment":
            continue
        try:
            columns["sentence2"] = negate(columns["sentence2"])
        except ConfigurationError as error:
            fail(str(source), row.line, error.message)
        columns["gold_label"] = "non-entailment"
        lines.append("\t".join(columns.values()))
    if len(lines) == 1:
        raise ConfigurationError(f"{source} has no pair with the label 'entailment'")
    part = Path(f"{os.fspath(target)}.part")
    try:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        os.replace(part, target)
    except OSError as error:
        raise ConfigurationError(f"{target} can't be written: {error}") from error
    return len(lines) - 1
