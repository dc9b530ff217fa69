"""Which solvers, at which λ, are compared."""

import copy
from typing import Any, Dict, List, NamedTuple, Sequence

from allennlp.common.checks import ConfigurationError

from allennlp_influence.engine import InverseCurvature
from allennlp_influence.influence.solver_config import (
    Solver,
    complete_solver_config,
    make_solver,
)

AT_CHECKPOINTS = ", at checkpoints"  # in the name of a setting, and of a system whose λ was chosen
DAMPINGS = [30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 1e-3]


class Setting(NamedTuple):
    """
    A solver's configuration, complete but for damping, every λ that it is tried with, and whether it is at the model after
    training or on average over the ends of its epochs.
    """

    solver: Dict[str, Any]
    dampings: List[float]
    at_checkpoints: bool = False

    @property
    def name(self) -> str:
        """For a table: the solver, and what is not its default."""
        return _name_of(self.solver) + AT_CHECKPOINTS * self.at_checkpoints

    @property
    def has_self_influence(self) -> bool:
        """Whether the solver has another way to self-influence than a system for every training example."""
        return InverseCurvature.by_name(self.solver["type"]).has_self_influence


def _name_of(solver: Dict[str, Any]) -> str:
    defaults = complete_solver_config(solver["type"])
    special = [
        f"{key}={_name_of(value) if isinstance(value, dict) else value}"  # a preconditioner is a solver too
        for key, value in solver.items()
        if defaults.get(key) != value and key != "type"
    ]
    return " ".join([solver["type"], *special])


def settings(
    solvers: Sequence[Solver], dampings: Sequence[float] = DAMPINGS
) -> List[Setting]:
    """
    # Parameters

    solvers : `Sequence[Union[str, Dict[str, Any]]]`
        Names, or configurations; one with a `damping`, or a list of them, keeps to it.
    dampings : `Sequence[float]`, optional
        Of the others.

    # Raises

    `ConfigurationError` if a solver can't be made, or not with one of the λ.
    """
    result = []
    for solver in solvers:
        config = {"type": solver} if isinstance(solver, str) else copy.deepcopy(solver)
        own = config.pop("damping", None)
        config = complete_solver_config(config)
        default = config.pop("damping")
        if own is not None:
            own = own if isinstance(own, list) else [own]
        elif config["type"] == "identity":
            own = [default]  # the order of its scores is that of any other
        else:
            own = list(dampings)
        for damping in own:
            if not isinstance(damping, (int, float)):
                raise ConfigurationError(f"damping {damping!r} of {solver} is no number")
            make_solver({**config, "damping": damping})
        result.append(Setting(config, [float(damping) for damping in own]))
    return result
