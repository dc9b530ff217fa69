"""Which parameters training updated, from an archive's configuration."""

import re
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence

from allennlp.common.checks import ConfigurationError
from torch import nn


class TrainedParameters(NamedTuple):
    """Names of the parameters that training updated, and the patterns that froze the others."""

    names: List[str]
    patterns: List[str]


def trained_parameters(
    model: nn.Module,
    config: Optional[Mapping[str, Any]] = None,
    params_to_freeze: Optional[Sequence[str]] = None,
) -> TrainedParameters:
    """
    AllenNLP forgets at loading which parameters its trainer had frozen: `trainer.no_grad` and optimizer
    groups with `requires_grad: false` are read from the configuration again and mean what they mean there
    (`re.search` on the parameter's name). What the model itself freezes stays frozen.

    # Parameters

    model : `nn.Module`, required
    config : `Mapping[str, Any]`, optional (default = `None`)
        The archive's configuration.
    params_to_freeze : `Sequence[str]`, optional (default = `None`)
        Regular expressions that take the place of the configuration's.

    # Raises

    `ConfigurationError` if a pattern is no regular expression, one of `params_to_freeze` matches nothing, or
    nothing is left.
    """
    patterns = list(params_to_freeze) if params_to_freeze is not None else _frozen_by(config or {})
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigurationError(f"{pattern!r} is not a regular expression: {error}") from error
        if params_to_freeze is not None and not any(
            re.search(pattern, name) for name, _ in model.named_parameters()
        ):
            raise ConfigurationError(
                f"params_to_freeze: {pattern!r} is found in the name of no parameter of the model"
            )
    names = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not any(re.search(pattern, name) for pattern in patterns)
    ]
    if not names:
        raise ConfigurationError(
            f"the patterns {patterns} freeze every parameter of the model; give params_to_freeze, the "
            "regular expressions of those that training left alone"
        )
    return TrainedParameters(names, patterns)


def _frozen_by(config: Mapping[str, Any]) -> List[str]:
    trainer = config.get("trainer")
    if not isinstance(trainer, dict):
        return []
    patterns = list(trainer.get("no_grad") or [])
    optimizer = trainer.get("optimizer")
    if isinstance(optimizer, dict):  # it can be a mere name
        for group, options in optimizer.get("parameter_groups") or []:
            if options.get("requires_grad") is False:
                patterns += group
    return patterns
