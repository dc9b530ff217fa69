"""Training again above the frozen layers only."""

import copy
import functools
import random
from contextlib import contextmanager
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy
import torch
from allennlp.common import Lazy, Params
from allennlp.common.checks import ConfigurationError
from allennlp.data import DataLoader, Instance
from allennlp.data.data_loaders import MultiProcessDataLoader
from allennlp.models import Model
from allennlp.training import GradientDescentTrainer, Trainer, TrainerCallback
from torch import Tensor

from allennlp_influence.analysis.allennlp_retrainer import AllenNLPRetrainer
from allennlp_influence.analysis.retrainer import Retrainer
from allennlp_influence.engine import Batch, Objective, Store, TrainingSet
from allennlp_influence.engine.training_set import bucket
from allennlp_influence.influence.classifier import Classifier
from allennlp_influence.influence.trained_parameters import trained_parameters

_MOST_STARTS = 8  # models that are kept as they are before training
# Tokens of a minibatch that go through the trained layers together, on a CPU. Texts of very different length in one
# minibatch are mostly padding: measured on SST-2 with minibatches of 32, the parts take 0.6 of the time.
_TOKENS_TOGETHER = 256


class _Start(NamedTuple):
    """What a seed gives before training: the trained parameters and buffers, and the generators' states."""

    state: Dict[str, Tensor]
    generators: Tuple[Any, Any, Tensor]


class _Kept(Instance):
    """An instance that knows where the outputs of the frozen layers for it are kept."""

    __slots__ = ["examples", "place"]

    def __init__(self, fields: Mapping[str, Any], examples: TrainingSet, place: int) -> None:
        super().__init__(fields)
        self.examples, self.place = examples, place


class _AtTheEndOfEpochs(TrainerCallback):
    """Keeps what a function returns at the end of every epoch."""

    def __init__(self, function: Callable[[], Dict[str, Tensor]]) -> None:
        super().__init__("")
        self.function, self.values = function, []

    def on_epoch(self, trainer: Trainer, metrics: Dict[str, Any], epoch: int, **_: Any) -> None:
        self.values.append(self.function())


@Retrainer.register("trained-layers")
class TrainedLayersRetrainer(AllenNLPRetrainer):
    """
    Trains as the retrainer `allennlp` does, by AllenNLP's trainer with all that the configuration says, but runs the
    frozen layers once for all models: training starts above them, from outputs that are kept. With the lower layers
    of an encoder frozen that takes a fraction of the time.

    Where no dropout is on, it gives what `allennlp` gives up to rounding: the same start, minibatches and steps. With
    dropout it gives another draw of nearly the same model: the trained layers have other masks, and frozen layers
    none, whereas AllenNLP's trainer leaves the dropout of frozen layers on.

    A minibatch goes through the layers in parts of similar length, whose mean loss is that of the minibatch.

    Registered as a `Retrainer` with name "trained-layers".

    # Parameters

    archive_file, input_file, train_data, overrides
        See `Retrainer`.
    cache_dir : `str`, optional (default = `None`)
        Folder that keeps the frozen layers' outputs for the next time and for other processes; without one each
        computes them.

    # Raises

    `ConfigurationError` as `AllenNLPRetrainer`, and if what is frozen, or the way that batches are made, is not the
    same for every model.
    """

    kind = "trained-layers"

    def __init__(
        self,
        archive_file: str,
        input_file: str,
        train_data: Optional[str] = None,
        overrides: str = "",
        cache_dir: Optional[str] = None,
    ) -> None:
        super().__init__(archive_file, input_file, train_data, overrides)
        self._cache_dir = cache_dir
        self._starts: Dict[int, _Start] = {}

    @functools.cached_property
    def model(self) -> Model:
        """The model that is trained again and again."""
        return self._untrained().to(self._device)

    @functools.cached_property
    def classifier(self) -> Classifier:
        """Makes batches for the model."""
        return Classifier(self.model, next(self.model.parameters()).device)

    @functools.cached_property
    def objective(self) -> Objective:
        """The loss over the trained parameters, whose values are those of the last training."""
        return Objective(self.model, self._trained_names, self._collate(self._sample))

    @functools.cached_property
    def training_set(self) -> TrainingSet:
        """The training examples above the frozen layers."""
        return self._examples(self._instances, "training")

    @functools.cached_property
    def training_labels(self) -> List[int]:
        """The class index of every training example."""
        return [self.classifier.gold(instance) for instance in self._instances]

    @functools.cached_property
    def query_set(self) -> TrainingSet:
        """The queries, with their gold labels where they have one."""
        return self._examples(self._queries, "queries")

    def parameters(
        self,
        leave_out: Sequence[int],
        seed: int,
        labels: Optional[Mapping[int, int]] = None,
    ) -> Dict[str, Tensor]:
        """The trained parameters, by name, of the model that `log_probabilities` is of."""
        self._train(leave_out, seed, labels)
        return self._copied()

    def parameters_by_epoch(
        self,
        leave_out: Sequence[int],
        seed: int,
        labels: Optional[Mapping[int, int]] = None,
    ) -> List[Dict[str, Tensor]]:
        """
        The trained parameters at the end of every epoch of the same training.

        # Raises

        `ConfigurationError` as `parameters`, and if the trainer takes no callbacks.
        """
        kept = _AtTheEndOfEpochs(self._copied)
        self._train(leave_out, seed, labels, trainer=Lazy(functools.partial(self._trainer, kept)))
        return kept.values

    def _train(
        self,
        leave_out: Sequence[int],
        seed: int,
        labels: Optional[Mapping[int, int]],
        **parts: Any,
    ) -> None:
        self.check_arguments(leave_out, labels)
        left_out, labels = set(leave_out), labels or {}
        instances = [
            self._relabelled(instance, labels[place]) if place in labels else instance
            for place, instance in enumerate(self._training_instances)
            if place not in left_out
        ]
        parts["model"] = Lazy(lambda **_: self._at_start(seed))
        for name in ("data_loader", "validation_data_loader"):
            if name in self._config:
                parts[name] = Lazy(functools.partial(self._loader, self._config[name]))
        with self._run_on_what_is_kept():
            self._trained(instances, self._validation_instances, seed, **parts)

    def _copied(self) -> Dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.objective.parameters.items()}

    def log_probabilities(
        self,
        leave_out: Sequence[int],
        seed: int,
        labels: Optional[Mapping[int, int]] = None,
    ) -> numpy.ndarray:
        return self.log_probabilities_at(self.parameters(leave_out, seed, labels))

    def log_probabilities_at(self, parameters: Mapping[str, Tensor]) -> numpy.ndarray:
        """As `log_probabilities`, at these values of the trained parameters."""
        result = numpy.empty((len(self.queries), len(self.label_names)))
        with torch.no_grad():
            for positions, batch in self.query_set.buckets:
                logits = self.objective.logits(parameters, batch)
                result[positions] = logits.double().log_softmax(-1).cpu().numpy()
        return result

    @functools.cached_property
    def _trained_names(self) -> List[str]:
        return trained_parameters(self.model, self._config).names

    @functools.cached_property
    def _sample(self) -> List[Instance]:
        """Four training examples of different length."""
        instances = sorted(self._instances, key=self.classifier.length)
        return [instances[i * (len(instances) - 1) // 3] for i in range(4)]

    @functools.cached_property
    def _in_parts(self) -> bool:
        """
        Whether the loss of a minibatch is the mean of its parts' (one with weights for the classes is not), and parts
        pay.
        """
        if self.classifier.device.type != "cpu":
            return False
        groups = self._sample, self._sample[:2], self._sample[2:]
        whole, *parts = [self.objective.own_loss(self._collate(group))[0] for group in groups]
        return bool(numpy.isclose(whole, numpy.mean(parts), rtol=1e-4))

    def _collate(self, instances: Sequence[Instance]) -> Batch:
        return self.classifier.collate(instances, [self.classifier.gold(x) for x in instances])

    @functools.cached_property
    def _training_instances(self) -> List[_Kept]:
        return self._kept(self._instances, self.training_set)

    @functools.cached_property
    def _validation_instances(self) -> List[_Kept]:
        if not self._validation:
            return []
        examples = self._examples(self._validation, "validation")
        return self._kept(self._validation, examples)

    def _examples(self, instances: Sequence[Instance], name: str) -> TrainingSet:
        labels = [self.classifier.gold(instance) or 0 for instance in instances]
        for instance in instances:
            instance.index_fields(self.model.vocab)  # once
        directory = self._cache_dir and Path(self._cache_dir) / self.fingerprint / name
        return TrainingSet(
            self.objective,
            [self.classifier.length(instance) for instance in instances],
            lambda places: self.classifier.collate(
                [instances[i] for i in places], [labels[i] for i in places]
            ),
            store=Store(directory),
        )

    def _kept(self, instances: Sequence[Instance], examples: TrainingSet) -> List[_Kept]:
        return [_Kept(x.fields, examples, place) for place, x in enumerate(instances)]

    def _relabelled(self, instance: _Kept, label: int) -> _Kept:
        fields = super()._relabelled(instance, label).fields
        return _Kept(fields, instance.examples, instance.place)

    def _at_start(self, seed: int) -> Model:
        """The model as it is before it is trained with a seed, and so the random generators."""
        cut = self.objective.model
        if seed not in self._starts:
            self._starts[seed] = self._new_start()
            if len(self._starts) > _MOST_STARTS:
                del self._starts[next(iter(self._starts))]
        start = self._starts[seed]
        with torch.no_grad():
            for name, tensor in (*cut.named_parameters(), *cut.named_buffers()):
                if name in start.state:
                    tensor.copy_(start.state[name])
        python, numbers, tensors = start.generators
        random.setstate(python), numpy.random.set_state(numbers), torch.set_rng_state(tensors)
        cut.get_metrics(reset=True)
        return cut

    def _new_start(self) -> _Start:
        new, own, cut = self._untrained(), self.model.state_dict(), self.objective.model
        for name, tensor in new.state_dict().items():
            if name not in self._trained_names and not torch.equal(tensor, own[name].to(tensor)):
                raise ConfigurationError(
                    f"{name} is frozen, but not the same at every start of a training: take the retrainer allennlp"
                )
        used = {*self.objective.parameters, *(name for name, _ in cut.named_buffers())}
        state = {name: tensor for name, tensor in new.state_dict().items() if name in used}
        return _Start(state, (random.getstate(), numpy.random.get_state(), torch.get_rng_state()))

    def _trainer(self, callback: TrainerCallback, **arguments: Any) -> Trainer:
        config = copy.deepcopy(self._config["trainer"])
        own = [Lazy(TrainerCallback, Params(each)) for each in config.pop("callbacks", None) or []]
        trainer = Trainer.from_params(
            Params(config), callbacks=[*own, Lazy(lambda **_: callback)], **arguments
        )
        if not isinstance(trainer, GradientDescentTrainer):
            raise ConfigurationError(
                f"the trainer {type(trainer).__name__} does not say when an epoch ends: its checkpoints can't be explained"
            )
        return trainer

    def _loader(self, config: Any, **arguments: Any) -> DataLoader:
        loader = DataLoader.from_params(Params(copy.deepcopy(config)), **arguments)
        if not isinstance(loader, MultiProcessDataLoader):
            raise ConfigurationError(
                f"the data loader {type(loader).__name__} is not followed here: take the retrainer allennlp"
            )
        loader.num_workers = 0
        loader.collate_fn = lambda instances: {
            "examples": instances[0].examples,
            "places": [instance.place for instance in instances],
            "labels": [self.classifier.gold(instance) for instance in instances],
        }
        return loader

    @contextmanager
    def _run_on_what_is_kept(self) -> Iterator[None]:
        """Within it, the model takes places of examples for its inputs, as the loaders give them."""
        cut, in_parts = self.objective.model, self._in_parts
        forward = cut.forward

        def from_places(
            examples: TrainingSet, places: List[int], labels: List[int]
        ) -> Dict[str, Tensor]:
            groups = [range(len(places))]
            if in_parts:
                lengths = [examples.lengths[place] for place in places]
                groups = list(bucket(lengths, _TOKENS_TOGETHER))
            losses = []
            for group in groups:
                batch = examples.batch([places[i] for i in group])
                label = torch.tensor([labels[i] for i in group], device=self.classifier.device)
                with _set(cut, batch.constants):
                    output = forward(**{**batch.inputs, "label": label})
                losses.append(output["loss"] * (len(group) / len(places)))
            return {"loss": sum(losses)}

        cut.forward = from_places
        try:
            yield
        finally:
            del cut.forward
            cut.eval()


@contextmanager
def _set(model: Model, constants: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it, buffers of the model have these values."""
    before = {}
    for name, tensor in constants.items():
        path, _, own = name.rpartition(".")
        before[name] = (model.get_submodule(path), own, model.get_buffer(name))
        setattr(model.get_submodule(path), own, tensor)
    try:
        yield
    finally:
        for module, own, tensor in before.values():
            setattr(module, own, tensor)
