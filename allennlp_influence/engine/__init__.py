"""
Influence in pure PyTorch: a loss as a function of the trained parameters, its curvature, and solvers of systems
with it. Nothing here knows of AllenNLP's models or data.
"""

from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.conjugate_gradient import ConjugateGradient
from allennlp_influence.engine.curvature import Curvature
from allennlp_influence.engine.ek_fac import EkFac
from allennlp_influence.engine.gauss_newton import GaussNewton
from allennlp_influence.engine.identity import Identity
from allennlp_influence.engine.inverse_curvature import (
    Diagnosis,
    InverseCurvature,
    NotSolvedError,
    Solution,
)
from allennlp_influence.engine.lissa import Lissa
from allennlp_influence.engine.matmul_precision import PRECISIONS, matmul_precision
from allennlp_influence.engine.memory_budget import MemoryBudget
from allennlp_influence.engine.normalisation import check_normalisation, normalised
from allennlp_influence.engine.objective import Objective
from allennlp_influence.engine.scoring import influence_scores, inner_products_with_losses
from allennlp_influence.engine.self_checks import (
    SelfChecks,
    precision_agreement,
    rank_agreement,
    self_checks,
)
from allennlp_influence.engine.spectral import Spectral
from allennlp_influence.engine.store import Store
from allennlp_influence.engine.training_set import TrainingSet, bucket
