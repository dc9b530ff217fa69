"""The damping that predicts retraining best, kept for the next explanations of the same model."""

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict

from allennlp_influence.analysis.settings import AT_CHECKPOINTS
from allennlp_influence.data.example import Example
from allennlp_influence.influence.results import sha256_of_examples, write_whole
from allennlp_influence.influence.solver_config import (
    Solver,
    complete_solver_config,
    make_solver,
)

AUTO = "auto"
# All of these solve the system of their curvature; the others are approximations with a best λ of their own.
_EXACT = ("conjugate-gradient", "gauss-newton", "lissa")


def system_of(config: Mapping[str, Any], at_checkpoints: bool = False) -> str:
    """What a solver's best λ belongs to: the kind of the curvature if it solves exactly, or the solver."""
    system = make_solver(dict(config)).kind if config["type"] in _EXACT else config["type"]
    return system + AT_CHECKPOINTS * at_checkpoints


def choose(
    cache_dir: str, archive_sha256: str, examples: Sequence[Example], rows: Sequence[JsonDict]
) -> List[JsonDict]:
    """
    Keeps for each system the λ with the highest score.

    # Parameters

    cache_dir : `str`
    archive_sha256 : `str`
        Of the archive that is explained, see `sha256_of_archive`.
    examples : `Sequence[Example]`
        The training examples that the score was measured with: the first of the archive's.
    rows : `Sequence[JsonDict]`
        See `validate_lds`, best first.

    # Returns

    `List[JsonDict]`
        What was chosen.
    """
    chosen: Dict[str, JsonDict] = {}
    for row in rows:
        if row["lds"] is not None and row["solver"]["type"] != "identity":
            config = {**row["solver"], "damping": row["damping"]}
            chosen.setdefault(
                system_of(config, row["at_checkpoints"]),
                {"solver": row["name"], "damping": row["damping"], "lds": row["lds"]},
            )
    path = _path(cache_dir, archive_sha256)
    measured_with = {"examples": len(examples), "sha256": sha256_of_examples(examples)}
    before = _read(path)
    if before.get("measured_with") == measured_with:
        chosen = {**before["chosen"], **chosen}
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"measured_with": measured_with, "chosen": chosen}
    write_whole(path, json.dumps(content, indent=2) + "\n")
    return [{"system": system, **choice} for system, choice in chosen.items()]


class Choice:
    """
    The λ that was chosen for an archive.

    # Parameters

    cache_dir : `str`, required
    archive_sha256 : `str`, required
    solver : `Union[str, Dict[str, Any]]`, required
    at_checkpoints : `bool`, optional (default = `False`)
        Whether it is for averages over checkpoints.

    # Raises

    `ConfigurationError` if none was chosen for this archive or this solver.
    """

    def __init__(
        self, cache_dir: str, archive_sha256: str, solver: Solver, at_checkpoints: bool = False
    ) -> None:
        config = complete_solver_config(solver)
        system = system_of(config, at_checkpoints)
        content = _read(_path(cache_dir, archive_sha256))
        if not content:
            raise ConfigurationError(
                f"no damping was chosen for this archive (nothing is in {cache_dir}): run `allennlp validate-influence` "
                "with --choose, or give a number"
            )
        if system not in content["chosen"]:
            raise ConfigurationError(
                f"no damping was chosen for {config['type']} ({system}) on this archive, only for "
                f"{'; '.join(sorted(content['chosen']))}: run `allennlp validate-influence` with --choose and --solver "
                f"{config['type']}{' --checkpoints' if at_checkpoints else ''}, or give a number"
            )
        self._measured_with = content["measured_with"]
        self.chosen: JsonDict = content["chosen"][system]
        self.solver: Dict[str, Any] = {**config, "damping": self.chosen["damping"]}
        """The solver with it."""

    @property
    def text(self) -> str:
        """For the user."""
        lds = self.chosen["lds"]
        return (
            f"damping λ = {self.chosen['damping']:g} was chosen by validate-influence: a linear datamodeling score of "
            f"{lds['mean']:.3f} ({lds['low']:.3f} to {lds['high']:.3f}) with {self._measured_with['examples']:,} training "
            "examples"
        )

    def check(self, examples: Sequence[Example]) -> None:
        """
        # Raises

        `ConfigurationError` if λ was chosen with other training examples than the first of these.
        """
        first = examples[: self._measured_with["examples"]]
        if sha256_of_examples(first) != self._measured_with["sha256"]:
            raise ConfigurationError(
                "the damping of this archive was chosen with other training data: run `allennlp validate-influence` with "
                "--choose on these, or give a number"
            )


def _path(cache_dir: str, archive_sha256: str) -> Path:
    return Path(cache_dir) / f"damping-{archive_sha256[:32]}.json"


def _read(path: Path) -> JsonDict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
