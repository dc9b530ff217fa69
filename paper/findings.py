"""What the paper found, and whether it is found here: decided by intervals alone."""

from typing import Any, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from allennlp.common.util import JsonDict

from allennlp_influence.analysis.consistency import (
    HELD,
    INFLUENCE,
    INFLUENCE_SHARES,
    OVERLAP,
    OVERLAP_SHARES,
    POOLED,
    PREDICTED,
)
from allennlp_influence.analysis.removal import POSITIVE, RANDOM
from allennlp_influence.analysis.scales import Z
from paper.artifacts import ENTAILMENT, HANS, NATURAL, NEGATED, NEGATION, ORIGINAL, OTHER
from paper.artifacts import OVERLAP as LEXICAL_OVERLAP
from paper.removal import PAPERS_MEASURE

REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"
_POINTS, _MILLI = (100.0, 1, " pp"), (1e3, 2, " · 10⁻³")
FEWEST_INPUTS = 6  # of fewer, all on one side happens by chance more often than once in 20 times
_SAME = 0.25  # a difference up to this share of the whole counts as none


class Claim(NamedTuple):
    """A number that the paper's finding says is above 0, or about 0 if `margin` is given."""

    name: str
    value: Optional[float]
    low: Optional[float]
    high: Optional[float]
    margin: Optional[float] = None
    scale: float = 1.0
    """By which the numbers are shown multiplied, with so many `digits` and this `unit`."""
    digits: int = 3
    unit: str = ""

    @property
    def verdict(self) -> str:
        """
        By the 95 % interval: reproduced if all of it is on the side of the claim, not if all of it is on the other
        side; if a number is said to be about 0, whether all of the interval is within the margin, or none of it.
        """
        if self.low is None or self.high is None:
            return UNDECIDED
        if self.margin is None:
            return REPRODUCED if self.low > 0 else NOT_REPRODUCED if self.high < 0 else UNDECIDED
        if max(-self.low, self.high) < self.margin:
            return REPRODUCED
        return NOT_REPRODUCED if self.low > self.margin or self.high < -self.margin else UNDECIDED


class Finding(NamedTuple):
    """A finding of the paper: it stands with all its claims and falls with one."""

    statement: str
    where: str
    claims: List[Claim]

    @property
    def verdict(self) -> str:
        """Of all claims together."""
        verdicts = {claim.verdict for claim in self.claims} or {UNDECIDED}
        return next(v for v in (NOT_REPRODUCED, UNDECIDED, REPRODUCED) if v in verdicts)


def findings(content: JsonDict, damping: str) -> List[Finding]:
    """
    # Parameters

    content : `JsonDict`
        See `collect`.
    damping : `str`
        λ.
    """
    consistency = content["consistency"][damping]
    artifacts = content["artifacts"][damping]
    removal = content["removal"].get(damping, {})
    return [
        Finding(
            "Sentiment: removing the most positive training examples hurts confidence more than random ones",
            "Table 1",
            removal_claims(removal.get("sst2")),
        ),
        Finding("The same in NLI", "Table 2", removal_claims(removal.get("hans"))),
        Finding(
            "Sentiment: training examples with the most positive token are more influential than those with the most "
            "negative one",
            "Figure 2",
            list(_differences(consistency["sst2"], INFLUENCE, POOLED, INFLUENCE_SHARES, 1)),
        ),
        Finding(
            "NLI: they are less so (top 20 % and more)",
            "Figure 3",
            list(_differences(consistency["hans"], INFLUENCE, POOLED, INFLUENCE_SHARES[1:], -1)),
        ),
        *_masking(consistency, PREDICTED, ""),
        *_masking(consistency, HELD, ", the explained label held fixed (not in the paper)"),
        Finding(
            "Lexical overlap: the coefficient is positive on natural pairs, and larger on HANS",
            "Figure 4",
            [
                _average(artifacts, LEXICAL_OVERLAP, NATURAL),
                _contrast(artifacts, LEXICAL_OVERLAP, HANS, NATURAL),
            ],
        ),
        Finding(
            "It is the same where entailment is predicted and where it is not",
            "section 5.1",
            [_equal(artifacts)],
        ),
        Finding(
            "It is smaller when hypotheses are negated",
            "Table 6",
            [_contrast(artifacts, LEXICAL_OVERLAP, ORIGINAL, NEGATED)],
        ),
        Finding(
            "Negation: the coefficient is negative on entailed pairs",
            "Table 6",
            [_average(artifacts, NEGATION, ORIGINAL, -1)],
        ),
        Finding(
            "It is positive when their hypotheses are negated",
            "Table 6",
            [_average(artifacts, NEGATION, NEGATED)],
        ),
    ]


def _masking(consistency: JsonDict, label: str, addition: str) -> List[Finding]:
    return [
        Finding(
            f"Sentiment: masking the most positive token changes the top training examples more than masking the most "
            f"negative one{addition}",
            "Table 3",
            list(_differences(consistency["sst2"], OVERLAP, label, OVERLAP_SHARES, -1)),
        ),
        Finding(
            f"NLI: masking the most negative token changes them more{addition}",
            "Table 4",
            list(_differences(consistency["hans"], OVERLAP, label, OVERLAP_SHARES, 1)),
        ),
    ]


def _differences(
    found: JsonDict, experiment: str, variant: str, shares: Sequence[float], sign: int
) -> Iterator[Claim]:
    """The positive token's numbers minus the negative one's, or the other way round."""
    for row in found["table"]:
        key = (row["experiment"], row["token"], row["variant"])
        if key == (experiment, "positive − negative", variant) and row["top"] in shares:
            as_shown = _POINTS if experiment == OVERLAP else ()
            yield _signed(f"top {row['top']:.1%}", row, sign, *as_shown)


def removal_claims(found: Optional[JsonDict]) -> List[Claim]:
    """By how much less removing random examples changes confidence."""
    claims = []
    for row in found["table"] if found is not None else ():
        key = (row["removed"], row["versus"], row["measure"])
        if key == (POSITIVE, RANDOM, PAPERS_MEASURE):
            if row["clusters"] < FEWEST_INPUTS:  # no resampling of so few says how they vary
                row = {**row, "low": None, "high": None}
            claims.append(_signed(f"{RANDOM} − {POSITIVE}", row, -1, *_POINTS))
    return claims


def _average(artifacts: JsonDict, feature: str, group: str, sign: int = 1) -> Claim:
    for row in artifacts["averages"]:
        if (row["feature"], row["scale"], row["group"]) == (feature, Z, group):
            return _signed(group, {**row, "value": row["mean"]}, sign, *_MILLI)
    return Claim(group, None, None, None)


def _contrast(artifacts: JsonDict, feature: str, first: str, second: str) -> Claim:
    for row in artifacts["contrasts"]:
        if (row["feature"], row["scale"]) == (feature, Z) and (row["first"], row["second"]) == (first, second):
            return _signed(f"{first} − {second}", row, 1, *_MILLI)
    return Claim(f"{first} − {second}", None, None, None)


def _equal(artifacts: JsonDict) -> Claim:
    claim = _contrast(artifacts, LEXICAL_OVERLAP, ENTAILMENT, OTHER)
    whole = _average(artifacts, LEXICAL_OVERLAP, HANS).value
    return claim._replace(margin=None if whole is None else _SAME * abs(whole))


def _signed(name: str, row: Mapping[str, Any], sign: int, *as_shown: Any) -> Claim:
    value, low, high = row["value"], row["low"], row["high"]
    if sign < 0 and value is not None:
        value = -value
    if sign < 0 and low is not None:
        low, high = -high, -low
    return Claim(name, value, low, high, None, *as_shown)
