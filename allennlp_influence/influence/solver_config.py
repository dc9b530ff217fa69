"""How a solver is named and configured, and which one is taken where nobody says."""

import copy
import inspect
from typing import Any, Dict, Union

from allennlp.common import Params
from allennlp.common.checks import ConfigurationError

from allennlp_influence.engine import InverseCurvature

Solver = Union[str, Dict[str, Any]]
"""The registered name of a solver, or `{"type": name, ...}` with its parameters."""

# At its own λ, by a sample so that the cost doesn't grow with the square of the training set; see docs/validation.md.
DEFAULT_SOLVER: Dict[str, Any] = {"type": "gauss-newton", "num_examples": 2000}
WHY_DEFAULT = "predicted retraining best on samples of SST-2 and MultiNLI"


def complete_solver_config(solver: Union[InverseCurvature, Solver]) -> Dict[str, Any]:
    """
    What a solver is configured with, its `type` and every parameter, those left to their defaults too.

    # Raises

    `ConfigurationError` if there is no such solver or it has no such parameter.
    """
    if isinstance(solver, InverseCurvature):
        return {"type": f"{type(solver).__module__}.{type(solver).__qualname__}"}
    config = {"type": solver} if isinstance(solver, str) else dict(solver)
    name = config.pop("type", InverseCurvature.default_implementation)
    known = InverseCurvature.list_available()
    if not isinstance(name, str) or not (name in known or "." in name):
        raise ConfigurationError(f"solver {name!r} is none of {', '.join(sorted(known))}")
    constructor = InverseCurvature.by_name(name)
    defaults = {
        parameter.name: parameter.default
        for parameter in inspect.signature(constructor).parameters.values()
    }
    unknown = sorted(config.keys() - defaults.keys())
    if unknown:
        raise ConfigurationError(
            f"solver {name!r} has no parameter {', '.join(map(repr, unknown))}; it has {', '.join(defaults)}"
        )
    config = {  # a preconditioner is a solver too
        parameter: complete_solver_config(value) if isinstance(value, dict) else value
        for parameter, value in config.items()
    }
    return {"type": name, **defaults, **config}


def make_solver(solver: Solver) -> InverseCurvature:
    """
    A solver by its registered name, or by an object with its `type` and parameters.

    # Raises

    `ConfigurationError` if it can't be made.
    """
    # a copy down to the preconditioner's: from_params takes out what it has read
    params = Params({"type": solver} if isinstance(solver, str) else copy.deepcopy(solver))
    try:
        return InverseCurvature.from_params(params)
    except (TypeError, ValueError) as error:  # a value of the wrong type
        raise ConfigurationError(f"the solver can't be made of {solver}: {error}") from error
