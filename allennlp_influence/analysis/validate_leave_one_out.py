"""Whether scores are what leaving one example out does, where that has one right answer."""

from typing import Sequence

import numpy
import torch
from allennlp.common import Tqdm
from allennlp.common.util import JsonDict

from allennlp_influence.analysis.convex_head import head_of
from allennlp_influence.analysis.explained_models import ExplainedModel
from allennlp_influence.analysis.left_out import agreement, check_number_left_out, choose_left_out
from allennlp_influence.analysis.model_bank import ModelBank
from allennlp_influence.analysis.settings import Setting
from allennlp_influence.analysis.validate_lds import gold_labels
from allennlp_influence.engine import NotSolvedError
from allennlp_influence.influence.solver_config import make_solver


def validate_leave_one_out(
    bank: ModelBank, settings: Sequence[Setting], num_left_out: int, label: str = "predicted"
) -> JsonDict:
    """
    Trains the last layer of a model by itself to its optimum, with λ/2 ‖θ‖² added to the mean loss, and again without
    each of some training examples: half of them those with the largest loss, the others at random. The Hessian of that
    objective is C + λI, so a score by an exact solver is the derivative of what is measured (Koh & Liang 2017, §4.2).

    # Returns

    `JsonDict`
        `rows`: for every solver and λ the `agreement` of scores and measured rises of the queries' losses, or the
        `error` that there are no scores.
    """
    size = len(bank.retrainer.examples)
    check_number_left_out(num_left_out, size)
    model = ExplainedModel(bank, 0)
    own_labels = gold_labels(bank) if label == "gold" else model.log_probabilities.argmax(-1).tolist()
    head = head_of(model.training_set, numpy.array(model.training_labels))
    queries = head_of(
        bank.retrainer.query_set.at(model.training_set.objective.parameters, model.training_set.store),
        numpy.array(own_labels),
    )
    rows = []
    for damping in sorted({damping for setting in settings for damping in setting.dampings}):
        everything = numpy.ones(size)
        start = numpy.zeros((head.num_classes, head.features.shape[1]))
        theta = head.fit(damping, everything, start)
        chosen = choose_left_out(head.losses(theta), num_left_out)
        measured = numpy.empty((len(own_labels), num_left_out))
        for column, place in enumerate(Tqdm.tqdm(chosen, desc=f"leaving one out, λ = {damping:g}")):
            weights = everything.copy()
            weights[place] = 0.0
            measured[:, column] = queries.losses(head.fit(damping, weights, theta))
        measured -= queries.losses(theta)[:, None]
        training_set, query_set = head.training_set(theta), queries.training_set(theta)
        gradients = torch.stack(
            [query_set.objective.gradient(query_set.batch([q])) for q in range(len(own_labels))]
        )
        for setting in settings:
            if damping not in setting.dampings:
                continue
            row = {
                "solver": setting.solver,
                "name": setting.name,
                "damping": damping,
            }
            try:
                solver = make_solver({**setting.solver, "damping": damping})
                scores, _ = solver.influence(solver.curvature_of(training_set), gradients)
                row.update(agreement(scores.numpy()[:, chosen], measured))
            except NotSolvedError as error:
                row["error"] = error.message
            rows.append(row)
    return {"rows": rows}
