"""Training again with AllenNLP's own trainer, the whole model, as the configuration says."""

import contextlib
import copy
import hashlib
import io
import json
import logging
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence

import numpy
import torch
from allennlp.commands.train import TrainModel
from allennlp.common import Lazy, Params
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import int_to_device, lazy_groups_of, prepare_environment
from allennlp.data import DatasetReader, Instance, Vocabulary
from allennlp.data.fields import LabelField
from allennlp.models import Model
from allennlp.models.archival import CONFIG_NAME, extracted_archive
from allennlp.predictors import Predictor

from allennlp_influence.analysis.retrainer import Retrainer
from allennlp_influence.data.example import example_of
from allennlp_influence.engine.objective import read_logits
from allennlp_influence.influence.classifier import Classifier
from allennlp_influence.influence.reading import named, readable
from allennlp_influence.predictors.inputs import local_path, read_inputs

_SEEDS = ("random_seed", "numpy_seed", "pytorch_seed")
_DATA = ("train_data_path", "validation_data_path", "test_data_path")
_MADE_ALREADY = (
    "dataset_reader",
    "validation_dataset_reader",
    "vocabulary",
    "datasets_for_vocab_creation",
    "test_data_path",
)
_QUERIES_AT_ONCE = 32


@Retrainer.register("allennlp")
class AllenNLPRetrainer(Retrainer):
    """
    Trains the whole model with AllenNLP's trainer, as `allennlp train` would with the same configuration, another seed
    and a training file without some of its lines: the pretrained encoder afresh, all epochs, the best of them by the
    validation file if the configuration says so. The vocabulary is that of the whole training file, so that every
    class keeps its index. Nothing is left on disk.

    Without anything left out, and with the configuration's own seed, it gives the archive's own model (on a CPU with
    as many threads).

    Registered as a `Retrainer` with name "allennlp".

    # Parameters

    archive_file, input_file, train_data, overrides
        See `Retrainer`.

    # Raises

    `ConfigurationError` naming the file or the part of the configuration that can't be used.
    """

    kind = "allennlp"
    """The name it is registered under."""

    def __init__(
        self,
        archive_file: str,
        input_file: str,
        train_data: Optional[str] = None,
        overrides: str = "",
    ) -> None:
        self._name = archive_file
        config = read_config(archive_file, overrides)
        if train_data is not None:
            config["train_data_path"] = train_data
        _check(config, archive_file)
        config["trainer"]["checkpointer"] = None
        prepare_environment(Params(copy.deepcopy(config)))  # for readers that draw examples
        reader_config = config["dataset_reader"]
        reader = _reader(reader_config)
        self._validation_reader = _reader(config.get("validation_dataset_reader", reader_config))
        data = {
            name: _read(reader if name == "train_data_path" else self._validation_reader, config[name])
            for name in _DATA
            if config.get(name)
        }
        self._reader, self._instances = reader, data["train_data_path"]
        self._validation = data.get("validation_data_path", [])
        self.examples = [example_of(instance, i) for i, instance in enumerate(self._instances)]
        self._config = config
        self._vocabulary = _vocabulary(config, data)
        model = self._untrained()
        predictor = Predictor.by_name("text_explainer")(model, self._validation_reader)
        queries = list(read_inputs(predictor, input_file))
        if not queries:
            raise ConfigurationError(f"there is nothing to predict in {input_file}")
        self._queries = [instance for instance, _ in queries]
        self.queries = [example for _, example in queries]
        classifier = Classifier(model, torch.device("cpu"))
        unlabelled = [i for i, x in enumerate(self._instances) if classifier.gold(x) is None]
        if unlabelled:
            raise ConfigurationError(
                f"training example {self.examples[unlabelled[0]].id} of {config['train_data_path']} has no label"
            )
        num_classes = self._log_probabilities(model, self._queries[:1]).shape[1]
        self.label_names = classifier.label_names(self._instances[0], num_classes)
        self.fingerprint = self._fingerprint()
        index = self._config["trainer"].get("cuda_device", 0 if torch.cuda.is_available() else -1)
        self._device = int_to_device(index)  # AllenNLP's trainer's choice
        if self._device.type == "cuda":
            self.device = torch.cuda.get_device_name(self._device)

    def log_probabilities(
        self,
        leave_out: Sequence[int],
        seed: int,
        labels: Optional[Mapping[int, int]] = None,
    ) -> numpy.ndarray:
        self.check_arguments(leave_out, labels)
        left_out, labels = set(leave_out), labels or {}
        instances = [
            self._relabelled(instance, labels[place]) if place in labels else instance
            for place, instance in enumerate(self._instances)
            if place not in left_out
        ]
        return self._log_probabilities(
            self._trained(instances, self._validation, seed), self._queries
        )

    def _trained(
        self, instances: List[Instance], validation: List[Instance], seed: int, **parts: Any
    ) -> Model:
        """`parts` take the place of what the configuration says of them."""
        params = Params(copy.deepcopy({k: v for k, v in self._config.items() if k not in parts}))
        for name in _SEEDS:
            params[name] = seed
        for name in _MADE_ALREADY:
            params.pop(name, None)
        validation_reader = self._validation_reader
        with _quiet(), tempfile.TemporaryDirectory() as directory:
            try:
                prepare_environment(params)
                loop = TrainModel.from_params(
                    params=params,
                    serialization_dir=directory,
                    local_rank=0,
                    dataset_reader=_InMemory(self._reader, instances),
                    validation_dataset_reader=_InMemory(validation_reader, validation),
                    vocabulary=Lazy(lambda **_: copy.deepcopy(self._vocabulary)),
                    **parts,
                )
                loop.run()
            except Exception as error:  # of whatever classes the configuration names
                raise ConfigurationError(
                    f"training again as {self._name} says fails: {named(error)}"
                ) from error
        return loop.model

    def _log_probabilities(self, model: Model, queries: Sequence[Instance]) -> numpy.ndarray:
        classifier = Classifier(model.eval(), next(model.parameters()).device)
        parts = []
        with torch.no_grad():
            for group in lazy_groups_of(queries, _QUERIES_AT_ONCE):
                batch = classifier.collate(group, [0] * len(group))
                logits = read_logits(model(**batch.inputs))
                parts.append(logits.double().log_softmax(-1).cpu().numpy())
        return numpy.concatenate(parts)

    def _untrained(self) -> Model:
        params = Params(copy.deepcopy(self._config["model"]))
        with _quiet():
            try:
                return Model.from_params(params, vocab=copy.deepcopy(self._vocabulary))
            except Exception as error:
                raise ConfigurationError(
                    f"the model of {self._name} can't be made: {named(error)}"
                ) from error

    def _relabelled(self, instance: Instance, label: int) -> Instance:
        before = instance.fields["label"]
        namespace, by_index = before._label_namespace, isinstance(before.label, int)
        name = label if by_index else self._vocabulary.get_token_from_index(label, namespace)
        return Instance({**instance.fields, "label": LabelField(name, namespace, by_index)})

    def _fingerprint(self) -> str:
        """Of the contents of the data files, wherever they are, and of all else by name, but for the checkpoints kept."""
        config = {k: v for k, v in self._config.items() if k not in (*_SEEDS, *_DATA)}
        config["trainer"] = {k: v for k, v in config["trainer"].items() if k != "checkpointer"}
        validation = [example_of(instance, i) for i, instance in enumerate(self._validation)]
        versions = {name: version(name) for name in ("allennlp", "torch", "transformers")}
        data = [[asdict(x) for x in part] for part in (self.examples, validation, self.queries)]
        content = json.dumps([self.kind, config, versions, data], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


class _InMemory(DatasetReader):
    """Gives instances that another reader has read."""

    def __init__(self, reader: DatasetReader, instances: List[Instance]) -> None:
        super().__init__()
        self._reader, self._instances = reader, instances

    def _read(self, file_path: Any) -> Iterable[Instance]:
        return self._instances

    def apply_token_indexers(self, instance: Instance) -> None:
        self._reader.apply_token_indexers(instance)


def read_config(archive_file: str, overrides: str = "") -> Dict[str, Any]:
    """
    The training configuration of an archive, of a serialization directory, or in a file of its own.

    # Raises

    `ConfigurationError` if there is none.
    """
    path = Path(local_path(archive_file, "archive or training configuration"))
    try:
        if path.is_dir() or archive_file.endswith((".json", ".jsonnet")):
            file = path / CONFIG_NAME if path.is_dir() else path
            return Params.from_file(file, overrides).as_dict(quiet=True)
        with extracted_archive(path) as directory:
            return Params.from_file(Path(directory) / CONFIG_NAME, overrides).as_dict(quiet=True)
    except ConfigurationError:
        raise
    except Exception as error:  # of tar, gzip or jsonnet
        raise ConfigurationError(
            f"{archive_file} can't be read as an archive or a training configuration (.json, .jsonnet): {named(error)}"
        ) from error


def _check(config: Mapping[str, Any], archive_file: str) -> None:
    for name in ("dataset_reader", "model", "data_loader", "trainer"):
        if not isinstance(config.get(name), dict):
            raise ConfigurationError(
                f"{archive_file} does not say how its model was trained: {name!r} is missing from the configuration"
            )
    if "distributed" in config:
        raise ConfigurationError(
            f"{archive_file} was trained by several processes together, which is not repeated here; train on one "
            'device with -o \'{"distributed": null}\''
        )
    for name, what, remedy in (
        ("train_data_path", "training file", "give it with --train-data"),
        ("validation_data_path", "validation file", "give it with -o '{\"validation_data_path\": …}'"),
    ):
        if name == "train_data_path" or isinstance(config.get(name), str):
            local_path(config.get(name), what, remedy)


def _reader(config: Any) -> DatasetReader:
    return DatasetReader.from_params(Params(copy.deepcopy({"reader": config})).pop("reader"))


def _read(reader: DatasetReader, path: Any) -> List[Instance]:
    with readable(path, reader):
        instances = list(reader.read(path))
    if not instances:
        raise ConfigurationError(f"there are no examples in {path}")
    return instances


def _vocabulary(config: Mapping[str, Any], data: Mapping[str, List[Instance]]) -> Vocabulary:
    """As AllenNLP makes it, from all data or from what `datasets_for_vocab_creation` names."""
    chosen = config.get("datasets_for_vocab_creation", ("train", "validation", "test"))
    instances = (
        instance
        for name in _DATA
        if name in data and name.split("_")[0] in chosen
        for instance in data[name]
    )
    return Vocabulary.from_params(
        Params(copy.deepcopy(config.get("vocabulary") or {})), instances=instances
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and notices of a training."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
