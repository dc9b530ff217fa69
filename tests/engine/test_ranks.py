"""Any number of processes gives the scores of one."""

import pytest
import torch
import torch.distributed as dist

from allennlp_influence.engine import (
    ConjugateGradient,
    EkFac,
    GaussNewton,
    Identity,
    Lissa,
    MemoryBudget,
    Objective,
    Spectral,
    TrainingSet,
)
from allennlp_influence.engine.store import Store
from tests.engine.conftest import TinyClassifier, make_texts, trained_names

SOLVERS = {
    "conjugate-gradient": ConjugateGradient(30.0),
    "gauss-newton": GaussNewton(0.1),
    "gauss-newton of a subset": GaussNewton(0.1, num_examples=9),
    "ek-fac": EkFac(0.1),
    "spectral": Spectral(1.0, curvature="gauss-newton"),
    "lissa": Lissa(30.0, scale=300.0, depth=30, batch_size=2),
    "identity": Identity(),
}


def work(folder=None) -> dict:
    """Scores, and self-influence where there is one, of every solver."""
    torch.set_num_threads(1)
    model = TinyClassifier().double()
    texts, queries = make_texts(count=14, seed=1), make_texts(count=3, seed=2)
    objective = Objective(model, trained_names(model), texts.collate(range(4)))
    vectors = torch.stack(
        [objective.gradient(objective.prepare(queries.collate([i]))) for i in range(3)]
    )
    lengths = [len(ids) for ids in texts.ids]
    budget = MemoryBudget(factors=2e-5)  # for panels
    training_set = TrainingSet(objective, lengths, texts.collate, 30, Store(folder), budget)
    found = {}
    for name, solver in SOLVERS.items():
        curvature = solver.curvature_of(training_set)
        found[name] = solver.influence(curvature, vectors)[0]
        if name in ("gauss-newton", "ek-fac", "spectral", "identity"):
            found[f"{name}, self"] = solver.self_influence(curvature).double()
    return found


def one_of(rank: int, size: int, folder) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size
    )
    for round in range(2):  # computed and kept, then read
        torch.save(work(folder / "store"), folder / f"{rank}-{round}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def alone() -> dict:
    return work()


@pytest.mark.parametrize("size", [2, 3])
def test_any_number_of_processes_gives_the_same_scores(size, alone, tmp_path):
    torch.multiprocessing.spawn(one_of, args=(size, tmp_path), nprocs=size)
    for rank in range(size):
        for round in range(2):
            found = torch.load(tmp_path / f"{rank}-{round}.pt")
            assert found.keys() == alone.keys()
            for name, expected in alone.items():
                torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-12, msg=name)
    assert not list((tmp_path / "store").glob("*.part"))
