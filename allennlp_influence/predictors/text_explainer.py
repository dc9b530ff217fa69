"""The predictor behind every command: a sentence, or a premise and a hypothesis."""

import inspect
from typing import Dict, List

import numpy
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict
from allennlp.data import Instance
from allennlp.data.fields import LabelField
from allennlp.predictors import Predictor

_KEYS = ({"sentence"}, {"premise", "hypothesis"})
_EXPECTED = '{"sentence": "…"} or {"premise": "…", "hypothesis": "…"}'


@Predictor.register("text_explainer")
class TextExplainer(Predictor):
    """
    Predicts with any classifier whose output has `logits` or `probs`, from `{"sentence": …}` or `{"premise": …,
    "hypothesis": …}`, each with an optional gold `label`. The output is the model's own for the text without its
    gold label, so it has no `loss`; it always has `label` and `probs`.

    Registered as a `Predictor` with name "text_explainer".
    """

    def predict(self, **inputs: str) -> JsonDict:
        """
        The prediction for `sentence=…`, or `premise=…` and `hypothesis=…`.
        """
        return self.predict_json(inputs)

    def predict_instance(self, instance: Instance) -> JsonDict:
        return self.predict_batch_instance([instance])[0]

    def predict_batch_instance(self, instances: List[Instance]) -> List[JsonDict]:
        """
        # Raises

        `ConfigurationError` if the model's output has neither `logits` nor `probs`, one row for each text.
        """
        if not instances:
            return []
        # A loss of the batch would make it differ from the texts one by one, and a batch has all labels or none.
        outputs = super().predict_batch_instance([_without_label(x) for x in instances])
        for output in outputs:
            output["probs"] = self._probabilities(output).tolist()
            output.setdefault("label", self._label(int(numpy.argmax(output["probs"]))))
        return outputs

    def predictions_to_labeled_instances(
        self, instance: Instance, outputs: Dict[str, numpy.ndarray]
    ) -> List[Instance]:
        labeled = instance.duplicate()
        predicted = int(self._probabilities(outputs).argmax())
        labeled.add_field("label", LabelField(predicted, skip_indexing=True))
        return [labeled]

    def _json_to_instance(self, json_dict: JsonDict) -> Instance:
        if not isinstance(json_dict, dict):
            raise ConfigurationError(
                f"an input is a {type(json_dict).__name__}; expected {_EXPECTED}"
            )
        texts = {key: value for key, value in json_dict.items() if key in set().union(*_KEYS)}
        if set(texts) not in _KEYS:
            raise ConfigurationError(
                f"an input has the keys {sorted(json_dict)}; expected {_EXPECTED}"
            )
        for key, text in texts.items():
            if not isinstance(text, str) or not text.strip():
                raise ConfigurationError(f"{key!r} is {text!r}; expected a text that is not empty")
        reader = self._dataset_reader
        accepted = inspect.signature(reader.text_to_instance).parameters
        if "sentence" in texts and "hypothesis" in accepted:
            raise ConfigurationError(
                'the model reads pairs, but the input is one sentence; give {"premise": "…", "hypothesis": "…"}'
            )
        if "premise" in texts and "hypothesis" not in accepted:
            raise ConfigurationError(
                'the model reads single texts, but the input is a pair; give {"sentence": "…"}'
            )
        values = list(texts.values())
        if "premise" in texts:
            values = [texts["premise"], texts["hypothesis"]]
        if "tokens" in accepted:  # sst_tokens takes words
            values = [text.split() for text in values]
        gold = json_dict.get("label")
        if gold is None:
            return reader.text_to_instance(*values)
        name = next((n for n in ("label", "gold_label", "sentiment") if n in accepted), None)
        if name is None:
            raise ConfigurationError("the model's reader takes no label; leave out 'label'")
        return reader.text_to_instance(*values, **{name: str(gold)})

    def _probabilities(self, output: Dict[str, numpy.ndarray]) -> numpy.ndarray:
        if "probs" in output:
            probabilities = numpy.asarray(output["probs"])
        elif "logits" in output:
            logits = numpy.asarray(output["logits"], dtype=float)
            exponentials = numpy.exp(logits - logits.max(axis=-1, keepdims=True))
            probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
        else:
            raise ConfigurationError(
                f"the model's output has neither 'logits' nor 'probs' (it has {sorted(output)}): only "
                "classifiers can be explained"
            )
        if probabilities.ndim != 1:
            raise ConfigurationError(
                "the model labels the parts of a text, not the text: only classifiers of texts can be explained"
            )
        return probabilities

    def _label(self, index: int) -> str:
        namespace = getattr(self._model, "_label_namespace", "labels")
        names = self._model.vocab.get_index_to_token_vocabulary(namespace)
        return names.get(index, str(index))


def _without_label(instance: Instance) -> Instance:
    return Instance({n: f for n, f in instance.fields.items() if not isinstance(f, LabelField)})
