"""The damping that validation chose is found again for the same archive and data, and for nothing else."""

import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis.chosen_damping import Choice, choose, system_of
from allennlp_influence.data.example import Example

ARCHIVE = "a" * 64
EXAMPLES = [Example(i, {"text": f"text {i}"}, "x") for i in range(6)]


def row(solver, damping, mean, at_checkpoints=False):
    lds = None if mean is None else {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}
    own = {"solver": solver, "name": solver["type"], "damping": damping, "lds": lds}
    return {**own, "at_checkpoints": at_checkpoints}


ROWS = [  # best first
    row({"type": "identity"}, 30.0, 0.9),
    row({"type": "gauss-newton"}, 0.1, 0.3),
    row({"type": "ek-fac"}, 0.01, 0.25),
    row({"type": "gauss-newton"}, 1.0, 0.2),
    row({"type": "lissa"}, 30.0, None),
]


def test_the_best_of_each_system_is_found_again(tmp_path):
    choose(str(tmp_path), ARCHIVE, EXAMPLES[:4], ROWS)
    exact = {"type": "conjugate-gradient", "curvature": "gauss-newton", "damping": 7}
    for solver, expected in (("gauss-newton", 0.1), ("ek-fac", 0.01), (exact, 0.1)):
        choice = Choice(str(tmp_path), ARCHIVE, solver)
        choice.check(EXAMPLES)  # of which it was measured with the first
        assert choice.solver["damping"] == expected and f"{expected:g}" in choice.text
    assert choice.solver["type"] == "conjugate-gradient" and choice.solver["tolerance"]
    # another solver, measured later with the same examples, is added
    choose(str(tmp_path), ARCHIVE, EXAMPLES[:4], [row({"type": "spectral"}, 2.0, 0.1)])
    assert Choice(str(tmp_path), ARCHIVE, "spectral").solver["damping"] == 2
    assert Choice(str(tmp_path), ARCHIVE, "ek-fac").solver["damping"] == 0.01
    # averages over checkpoints have a λ of their own
    choose(str(tmp_path), ARCHIVE, EXAMPLES[:4], [row({"type": "ek-fac"}, 3.0, 0.4, True)])
    assert Choice(str(tmp_path), ARCHIVE, "ek-fac", True).solver["damping"] == 3
    assert Choice(str(tmp_path), ARCHIVE, "ek-fac").solver["damping"] == 0.01
    with pytest.raises(ConfigurationError, match="--solver gauss-newton --checkpoints"):
        Choice(str(tmp_path), ARCHIVE, "gauss-newton", True)
    choose(str(tmp_path), ARCHIVE, EXAMPLES[:5], [row({"type": "spectral"}, 3.0, 0.1)])
    with pytest.raises(ConfigurationError, match="only for spectral"):
        Choice(str(tmp_path), ARCHIVE, "ek-fac")


def test_what_was_not_chosen_is_said(tmp_path):
    with pytest.raises(ConfigurationError, match="validate-influence` with --choose"):
        Choice(str(tmp_path), ARCHIVE, "gauss-newton")
    choose(str(tmp_path), ARCHIVE, EXAMPLES[:4], ROWS)
    with pytest.raises(ConfigurationError, match="no damping was chosen for this archive"):
        Choice(str(tmp_path), "b" * 64, "gauss-newton")
    with pytest.raises(ConfigurationError, match=r"conjugate-gradient \(hessian\)"):
        Choice(str(tmp_path), ARCHIVE, "conjugate-gradient")
    with pytest.raises(ConfigurationError, match="other training data"):
        Choice(str(tmp_path), ARCHIVE, "ek-fac").check(EXAMPLES[1:])


def test_systems():
    assert system_of({"type": "lissa"}) == system_of({"type": "conjugate-gradient"}) == "hessian"
    assert system_of({"type": "gauss-newton"}) == "gauss-newton"
    assert system_of({"type": "ek-fac"}) == "ek-fac"
