"""Whether scores are the proximal Bregman response of a deep network."""

from typing import Sequence

import numpy
from allennlp.common import Tqdm
from allennlp.common.util import JsonDict

from allennlp_influence.analysis.explained_models import ExplainedModel
from allennlp_influence.analysis.left_out import agreement, check_number_left_out, choose_left_out
from allennlp_influence.analysis.model_bank import ModelBank
from allennlp_influence.analysis.proximal_bregman import response
from allennlp_influence.analysis.settings import Setting
from allennlp_influence.analysis.validate_lds import gold_labels
from allennlp_influence.engine import GaussNewton


def validate_pbrf(
    bank: ModelBank, settings: Sequence[Setting], num_left_out: int, label: str = "predicted"
) -> JsonDict:
    """
    Finds the proximal Bregman response to leaving out each of some training examples of a model that was trained on
    everything, half of them those with the largest loss, the others at random; see `response`.

    # Returns

    `JsonDict`
        `rows`: for every solver and λ the `agreement` of scores and measured rises of the queries' losses, or the
        `error` that there are no scores; and `gradient_left`, the largest, relative to the first.
    """
    check_number_left_out(num_left_out, len(bank.retrainer.examples))
    model, retrainer = ExplainedModel(bank, 0), bank.retrainer
    gold = gold_labels(bank) if label == "gold" else None
    labels = gold or model.log_probabilities.argmax(-1).tolist()
    training_set = model.training_set
    space = training_set.objective.space
    start = space.flatten(training_set.objective.parameters)
    chosen = choose_left_out(model.training_losses(), num_left_out)
    queries = numpy.arange(len(labels))
    rows = []
    for damping in sorted({damping for setting in settings for damping in setting.dampings}):
        solver = GaussNewton(damping)
        curvature = solver.curvature_of(training_set)
        measured, left = numpy.empty((len(labels), num_left_out)), []
        for column, place in enumerate(Tqdm.tqdm(chosen, desc=f"responses, λ = {damping:g}")):
            shift, gradient_left = response(training_set, curvature, solver, int(place))
            log_p = retrainer.log_probabilities_at(space.unflatten(start + shift))
            measured[:, column] = -(log_p - model.log_probabilities)[queries, labels]
            left.append(gradient_left)
        for setting in settings:
            if damping not in setting.dampings:
                continue
            row = {"solver": setting.solver, "name": setting.name, "damping": damping}
            scored = model.scores(setting.solver, [damping], labels)[damping]
            if scored.scores is None:
                row["error"] = scored.error
            else:
                row.update(agreement(scored.scores[:, chosen], measured))
            rows.append({**row, "gradient_left": max(left)})
    return {"rows": rows}
