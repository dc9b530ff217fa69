"""
kronfluence's EK-FAC (github.com/pomonam/kronfluence) on the layers that training updated.

It is given what our engine works on: the outputs of the frozen layers, computed beforehand and not counted, the last
layer at its first position only, batches of texts of like length made beforehand and padded to the longest of each.
Loss: cross-entropy, summed. Measurement: the loss at the predicted label. Factors: of the true Fisher matrix, with one
label sampled for each example (our `ek-fac` takes the expectation over the labels instead), of the linear layers with
their biases (ours takes the LayerNorms too). Float32, its defaults else; the damping is λ for λ, since its Λ is a mean
over the examples as ours is.
"""

import shutil
import tempfile
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy
import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from kronfluence.utils.dataset import DataLoaderKwargs
from torch import Tensor, nn
from torch.utils.data import Dataset

from allennlp_influence.engine import TrainingSet
from opponents.trained_layers import (
    Examples,
    TrainedLayers,
    query_batch,
    training_batches,
    training_order,
)
from subject import Subject

BATCH_SIZE = 32


def measure(
    subject: Sequence[Any], sizes: Sequence[int], dampings: Sequence[float], scores_file: str
) -> Dict[str, Any]:
    """
    Seconds for N training examples, by a straight line for each stage through its times at two `sizes`, the smaller
    first; the eigendecompositions don't depend on N. The scores at the larger size for every damping `(dampings,
    queries, examples)`, in the order of the training file, go into `scores_file`.
    """
    of = Subject(*subject)
    found: List[Dict[str, float]] = []
    scores: Optional[Tensor] = None
    for size in (min(BATCH_SIZE, sizes[0]), *sizes):  # the first to warm up
        seconds, scores = _run(of._replace(num_examples=size), dampings)
        found.append(seconds)
    numpy.save(scores_file, scores.numpy())
    _, small, large = found
    stages = {
        stage: _on_a_line(sizes, (small[stage], large[stage]), of.num_examples)
        for stage in ("covariances", "Lambda", "scores")
    }
    stages["eigendecomposition"] = large["eigendecomposition"]
    return {
        "seconds": sum(stages.values()),
        "how": f"scaled from {sizes[0]} and {sizes[1]} training examples",
        "seconds_as_run": sum(large.values()),
        "examples_as_run": sizes[1],
        "stages": stages,
        "stages_as_run": large,
    }


def _on_a_line(sizes: Sequence[int], seconds: Sequence[float], size: int) -> float:
    """
    What does not depend on the size (gradients of the queries, warming up) is not in proportion to it. Where noise
    makes the larger run look faster than it was per example, the line goes through the origin.
    """
    slope = (seconds[1] - seconds[0]) / (sizes[1] - sizes[0])
    slope = min(max(slope, 0.0), seconds[1] / sizes[1])
    return seconds[1] + slope * (size - sizes[1])


def _run(of: Subject, dampings: Sequence[float]):
    interpreter = of.interpreter("influence-functions")
    instances = of.test_instances(of.archive())
    queries = query_batch([interpreter.prepared_query(x).batch for x in instances])
    return ekfac(interpreter.training_set, queries, dampings)


def ekfac(
    training_set: TrainingSet, queries: Examples, dampings: Sequence[Optional[float]]
) -> Tuple[Dict[str, float], Tensor]:
    """
    Seconds by stage, and the scores for every damping `(dampings, queries, examples)`, in training order. `None` is its own
    default, a tenth of the mean eigenvalue of each layer.
    """
    batches = training_batches(training_set, BATCH_SIZE)
    order = training_order(training_set)

    task = _Classification(TrainedLayers(training_set.objective).linear_layers)
    model = prepare_model(TrainedLayers(training_set.objective), task)
    folder = tempfile.mkdtemp()
    analyzer = Analyzer("bench", model, task, cpu=True, disable_tqdm=True, output_dir=folder)
    train, test = _Prepared(batches, BATCH_SIZE), _Prepared([queries], len(queries.labels))
    factor_args = FactorArguments(strategy="ekfac")
    torch.manual_seed(0)  # of the sampled labels
    seconds: Dict[str, float] = {}

    def timed(stage: str, function, **options) -> None:
        start = time.perf_counter()
        function(factors_name="f", **options)
        seconds[stage] = time.perf_counter() - start

    options = dict(
        dataset=train,
        per_device_batch_size=BATCH_SIZE,
        dataloader_kwargs=DataLoaderKwargs(collate_fn=_prepared_batch),
        factor_args=factor_args,
    )
    timed("covariances", analyzer.fit_covariance_matrices, **options)
    timed("eigendecomposition", analyzer.perform_eigendecomposition, factor_args=factor_args)
    timed("Lambda", analyzer.fit_lambda_matrices, **options)
    scores = []
    for damping in dampings:
        name = f"s{damping}"
        timed(
            "scores",
            analyzer.compute_pairwise_scores,
            scores_name=name,
            query_dataset=test,
            train_dataset=train,
            per_device_query_batch_size=len(queries.labels),
            per_device_train_batch_size=BATCH_SIZE,
            dataloader_kwargs=DataLoaderKwargs(collate_fn=_prepared_batch),
            score_args=ScoreArguments(damping_factor=damping),
        )
        found = analyzer.load_pairwise_scores(name)["all_modules"]
        scores.append(torch.empty_like(found))
        scores[-1][:, order] = found
    shutil.rmtree(folder)
    return seconds, torch.stack(scores)


class _Prepared(Dataset):
    """Examples in batches that are made already: an item is a place in them."""

    def __init__(self, batches: List[Examples], batch_size: int) -> None:
        self.batches, self.batch_size = batches, batch_size
        self.size = sum(len(batch.labels) for batch in batches)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Tuple["_Prepared", int]:
        return self, index


def _prepared_batch(items: List[Tuple[_Prepared, int]]) -> Examples:
    dataset, first = items[0]
    batch = dataset.batches[first // dataset.batch_size]
    assert len(batch.labels) == len(items), "it does not take the batches as they are made"
    return batch


class _Classification(Task):
    def __init__(self, layers: List[str]) -> None:
        self.layers = layers

    def compute_train_loss(self, batch: Examples, model: nn.Module, sample: bool = False) -> Tensor:
        logits = model(*batch.arguments)
        labels = batch.labels
        if sample:
            labels = torch.multinomial(logits.detach().softmax(-1), 1).flatten()
        return nn.functional.cross_entropy(logits, labels, reduction="sum")

    def compute_measurement(self, batch: Examples, model: nn.Module) -> Tensor:
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self) -> List[str]:
        return self.layers

    def get_attention_mask(self, batch: Examples) -> Tensor:
        _, _, mask, _ = batch.arguments
        return mask.long()
