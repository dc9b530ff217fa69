"""The signed gradient × input saliency map as a `SaliencyInterpreter` of AllenNLP."""

from typing import Dict, List, Optional, Sequence, Union

from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict, sanitize
from allennlp.data import Instance
from allennlp.interpret.saliency_interpreters import SaliencyInterpreter
from allennlp.predictors import Predictor

from allennlp_influence.data.example import Example, example_of
from allennlp_influence.saliency.token_saliency import Saliency, token_saliency


@SaliencyInterpreter.register("gradient-x-input")
class GradientXInput(SaliencyInterpreter):
    """
    Signed gradient × input at the word embeddings, divided by the sum of its absolute values over
    all tokens (Han, Wallace, Tsvetkov, ACL 2020; see `token_saliency` for the formula). Positive:
    the token supports the explained label.

    AllenNLP's "simple-gradient" multiplies every token's gradient by the embedding of the *first*
    token and drops the sign; this one does neither.

    Registered as a `SaliencyInterpreter` with name "gradient-x-input".

    # Parameters

    predictor : `Predictor`
    label : `str`, optional (default = `"predicted"`)
        The label to explain: `"predicted"`, `"gold"` (the instance's own, which JSON inputs of the
        `text_explainer` predictor may give as `label`), or the name of one.
    batch_size : `int`, optional (default = `32`)
        How many inputs go through the model at once.
    """

    def __init__(
        self, predictor: Predictor, label: str = "predicted", batch_size: int = 32
    ) -> None:
        super().__init__(predictor)
        self.label = label
        self.batch_size = batch_size

    def saliency_interpret_from_json(
        self, inputs: Union[JsonDict, List[JsonDict]], label: Optional[str] = None
    ) -> JsonDict:
        """
        # Parameters

        inputs : `Union[JsonDict, List[JsonDict]]`
            What the predictor takes, or a list of it.
        label : `str`, optional (default = `None`)
            Explain this label instead of the interpreter's own.

        # Returns

        `JsonDict`
            As `saliency_interpret_instances` returns it.
        """
        inputs = inputs if isinstance(inputs, list) else [inputs]
        instances = self.predictor._batch_json_to_instances(inputs)
        return self.saliency_interpret_instances(instances, label)

    def saliency_interpret_instances(
        self, instances: Sequence[Instance], label: Optional[str] = None
    ) -> JsonDict:
        """
        # Parameters

        instances : `Sequence[Instance]`
        label : `str`, optional (default = `None`)
            Explain this label instead of the interpreter's own.

        # Returns

        `JsonDict`
            `{"instance_1": {...}, "instance_2": {...}}`, in the order of `instances`. As in
            AllenNLP, `grad_input_1` has a number for each token of the text field that the model
            embedded last, `grad_input_2` of the one before, and so on; here they are signed, and
            their absolute values sum to 1 over all of them. Besides: `tokens` and `scores` of all
            text fields in the order in which they were embedded, `words`, `label` (the explained
            one), `predicted`, `probability` (of `label`), `labels` and `probabilities`, `loss`,
            `norm`.
        """
        return sanitize(
            {
                f"instance_{number}": _as_allennlp(saliency)
                for number, saliency in enumerate(self.explain(instances, label), start=1)
            }
        )

    def explain(
        self,
        instances: Sequence[Instance],
        label: Optional[str] = None,
        examples: Optional[Sequence[Example]] = None,
    ) -> List[Saliency]:
        """
        # Parameters

        instances : `Sequence[Instance]`
        label : `str`, optional (default = `None`)
            Explain this label instead of the interpreter's own.
        examples : `Sequence[Example]`, optional (default = `None`)
            The examples of the instances, with their gold labels; by default `example_of` each.

        # Returns

        `List[Saliency]`, one per instance.

        # Raises

        `ConfigurationError` if `"gold"` is to be explained and an instance has no label, and for
        what `token_saliency` raises it.
        """
        for instance in instances:
            self.predictor._dataset_reader.apply_token_indexers(instance)
        if examples is None:
            examples = [example_of(instance, i) for i, instance in enumerate(instances)]
        labels = [_label_of(example, label or self.label) for example in examples]
        return token_saliency(self.predictor._model, instances, labels, self.batch_size)


def _label_of(example: Example, label: str) -> Optional[str]:
    if label == "predicted":
        return None
    if label != "gold":
        return label
    if example.label is None:
        raise ConfigurationError(
            f"The gold label is to be explained, but example {example.id} has none. Explain the "
            f"predicted label or a named one."
        )
    return example.label


def _as_allennlp(saliency: Saliency) -> JsonDict:
    by_field: Dict[str, List[float]] = {}
    for field, score in zip(saliency.fields, saliency.scores):
        by_field.setdefault(field, []).append(score)
    gradients = {
        f"grad_input_{number}": scores
        for number, scores in enumerate(reversed(list(by_field.values())), start=1)
    }
    return {
        **gradients,
        **saliency.to_json(),
        "label": saliency.label,
        "predicted": saliency.predicted,
        "probability": saliency.probability,
        "labels": list(saliency.labels),
        "probabilities": list(saliency.probabilities),
        "loss": saliency.loss,
        "norm": saliency.norm,
    }
