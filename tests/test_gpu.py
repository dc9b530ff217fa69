"""The same figures on a GPU as on the CPU: `pytest -m gpu`, where there is one."""

import json

import numpy
import pytest
import torch

from allennlp_influence.analysis import TrainedLayersRetrainer
from allennlp_influence.commands.influence import InfluenceCommand
from allennlp_influence.commands.label_errors import LabelErrors
from allennlp_influence.commands.saliency import SaliencyCommand
from allennlp_influence.commands.what_if import WhatIf
from allennlp_influence.engine import InverseCurvature, Objective, Store, TrainingSet
from allennlp_influence.influence.results import open_results
from tests.analysis.conftest import trained_head  # noqa: F401
from tests.commands.test_validate_influence import run
from tests.engine.conftest import TinyClassifier, make_texts, trained_names

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
SOLVERS = {
    "identity": {},
    "lissa": {"scale": 300.0, "depth": 60, "batch_size": 4},
    "conjugate-gradient": {"tolerance": 1e-8},
    "spectral": {"rank": 2, "block_size": 4, "steps": 3},  # fewer than queries
    "gauss-newton": {},
    "ek-fac": {},
}


def engine_scores(device, name, folder):
    """Of three queries; and again when all that is kept is on disk, and the solver is prepared."""
    model = TinyClassifier().double().to(device)
    texts, others = make_texts(count=14, seed=1), make_texts(count=3, seed=2)

    def collate(positions):
        return texts.collate(positions).to(torch.device(device))

    objective = Objective(model, trained_names(model), collate(range(4)))
    training_set = TrainingSet(objective, [len(i) for i in texts.ids], collate, 30, Store(folder))
    batches = [others.collate([i]).to(torch.device(device)) for i in range(3)]
    queries = torch.stack([objective.gradient(objective.prepare(batch)) for batch in batches])
    solver = InverseCurvature.by_name(name)(damping=30.0, **SOLVERS[name])
    curvature = solver.curvature_of(training_set)
    first = solver.influence(curvature, queries)[0]
    solver.prepare(curvature, most_gigabytes=1.0)
    again = solver.influence(curvature, queries)[0]
    return torch.stack([first, again]).cpu()


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_gives_the_scores_of_the_cpu(name, tmp_path):
    on_gpu, on_cpu = (engine_scores(device, name, tmp_path / device) for device in ("cuda", "cpu"))
    torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("solver", ["spectral", "gauss-newton", "ek-fac"])
def test_the_commands_give_what_they_give_on_the_cpu(solver, trained_head, tmp_path):
    archive, queries = trained_head
    config = ("--solver", json.dumps({"type": solver, "damping": 0.5}))
    scores, strengths = [], []
    for device in ("-1", "0"):
        folder = tmp_path / device
        on = ("--cuda-device", device, "--cache-dir", str(folder / "cache"))
        for out, options in (("out", ["--token-attribution"]), ("relative", ["--normalisation", "relatif"])):
            run(InfluenceCommand(), archive, queries, *config, *on, *options, "-s", str(folder / out))
            scores.append(open_results(folder / out).scores)
        run(WhatIf(), str(folder / "out"), "--remove", "1", "3", "--linearised", *on[:2])
        rows = folder / "errors.jsonl"
        run(LabelErrors(), archive, *config, *on, "--output-file", str(rows))
        found = map(json.loads, rows.read_text().splitlines())
        strengths.append({row["id"]: row["self_influence"] for row in found})
        run(SaliencyCommand(), archive, queries, *on[:2])
    for of_cpu, of_gpu in zip(scores[:2], scores[2:]):
        numpy.testing.assert_allclose(of_gpu, of_cpu, rtol=1e-3, atol=1e-5 * abs(of_cpu).max())
    assert strengths[1] == pytest.approx(strengths[0], rel=1e-3, abs=1e-6)


def test_training_again_is_a_function_of_its_arguments(trained_head):
    retrainer = TrainedLayersRetrainer(*trained_head)
    assert next(retrainer.model.parameters()).is_cuda
    first = retrainer.log_probabilities([3], 7)
    other = retrainer.log_probabilities([], 8)
    assert not numpy.array_equal(first, other)
    numpy.testing.assert_allclose(retrainer.log_probabilities([3], 7), first, rtol=1e-5)
    numpy.testing.assert_allclose(
        TrainedLayersRetrainer(*trained_head).log_probabilities([3], 7), first, rtol=1e-5
    )
