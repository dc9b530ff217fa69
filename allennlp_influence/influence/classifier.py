"""An AllenNLP classifier and its instances, in the engine's terms."""

import inspect
from typing import List, Optional, Sequence

import torch
from allennlp.common.checks import ConfigurationError
from allennlp.data import Batch as InstanceBatch
from allennlp.data import Instance
from allennlp.data.fields import LabelField, TextField
from allennlp.models import Model
from allennlp.nn.util import move_to_device

from allennlp_influence.engine import Batch


class Classifier:
    """
    Turns instances into the engine's batches: tensors for the model's forward pass, without the label
    unless it can't do without.

    # Parameters

    model : `Model`, required
    device : `torch.device`, required
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        self.model = model
        self.device = device
        self.vocab = model.vocab
        label = inspect.signature(model.forward).parameters.get("label")
        self._needs_label = label is not None and label.default is inspect.Parameter.empty

    def collate(self, instances: Sequence[Instance], labels: Sequence[int]) -> Batch:
        """
        # Parameters

        instances : `Sequence[Instance]`, required
        labels : `Sequence[int]`, required
            The class index that each one's loss is taken at.
        """
        unlabelled = []
        for instance in instances:
            own = Instance({n: f for n, f in instance.fields.items() if n != "label"})
            own.indexed = instance.indexed
            unlabelled.append(own)
        batch = InstanceBatch(unlabelled)
        batch.index_instances(self.vocab)
        inputs = move_to_device(batch.as_tensor_dict(), self.device)
        classes = torch.tensor(labels, device=self.device)
        if self._needs_label:
            inputs["label"] = classes
        return Batch(inputs, classes)

    def label_names(self, instance: Instance, num_classes: int) -> List[str]:
        """The names of the classes in the order of the model's logits."""
        label = instance.fields.get("label")
        namespace = getattr(self.model, "_label_namespace", None) or getattr(
            label, "_label_namespace", "labels"
        )
        names = self.vocab.get_index_to_token_vocabulary(namespace)
        return [names.get(index, str(index)) for index in range(num_classes)]

    def gold(self, instance: Instance) -> Optional[int]:
        """
        The index of the instance's own label; `None` if it has none.

        # Raises

        `ConfigurationError` if the model has no such label.
        """
        field = instance.fields.get("label")
        if not isinstance(field, LabelField):
            return None
        if isinstance(field.label, int):  # indexed by the reader itself
            return field.label
        labels = self.vocab.get_token_to_index_vocabulary(field._label_namespace)
        if field.label not in labels:
            raise ConfigurationError(
                f"label {field.label!r} is none of the model's: {', '.join(labels)}"
            )
        return labels[field.label]

    def gold_name(self, instance: Instance, names: Sequence[str]) -> Optional[str]:
        """The instance's own label by name, also if the model has no such label; `None` if it has none."""
        field = instance.fields.get("label")
        if not isinstance(field, LabelField):
            return None
        if isinstance(field.label, int):
            return names[field.label] if field.label < len(names) else str(field.label)
        return field.label

    def length(self, instance: Instance) -> int:
        """Number of tokens of its longest text."""
        texts = [len(f) for f in instance.fields.values() if isinstance(f, TextField)]
        if not texts:
            raise ConfigurationError(
                f"an instance with the fields {sorted(instance.fields)} has no text: only classifiers of "
                "texts can be explained"
            )
        return max(texts)
