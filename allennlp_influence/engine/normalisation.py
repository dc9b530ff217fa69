"""Scores relative to how strongly a training example, or a query, acts on anything."""

from typing import Optional, Sequence

import torch
from allennlp.common.checks import ConfigurationError
from torch import Tensor

NORMALISATIONS = ("relatif", "cosine")


def check_normalisation(name: Optional[str]) -> None:
    """
    # Raises

    `ConfigurationError` if there is none of that name.
    """
    if name is not None and name not in NORMALISATIONS:
        raise ConfigurationError(f"normalisation {name!r} is none of {', '.join(NORMALISATIONS)}")


def normalised(
    name: str, scores: Tensor, self_influence: Tensor, energies: Sequence[float]
) -> Tensor:
    """
    Scores `score[q, i] = ⟨g_q, g_i⟩ / N` in the inner product of (C + λI)⁻¹, freed of the length of g_i, which is
    large for mislabelled and hard examples whatever the query:

        relatif   ⟨g_q, g_i⟩ / ‖g_i‖            (Barshan et al. 2020, ℓ-RelatIF)
        cosine    ⟨g_q, g_i⟩ / (‖g_q‖ ‖g_i‖)

    They rank alike for one query; cosines compare between queries too. With the solver identity they are those
    of plain gradients.

    # Parameters

    name : `str`, required
    scores : `Tensor`, required
        `(num_queries, N)`.
    self_influence : `Tensor`, required
        ‖g_i‖² / N, `(N,)`.
    energies : `Sequence[float]`, required
        ‖g_q‖² of every query.
    """
    size = scores.shape[1]
    squares = self_influence.to(scores) * size
    tiny = torch.finfo(scores.dtype).tiny
    result = scores * size / squares.sqrt().clamp_min(tiny)
    if name == "cosine":
        norms = torch.tensor(energies, dtype=torch.float64).sqrt().to(scores)
        result /= norms.clamp_min(tiny)[:, None]
    return result
