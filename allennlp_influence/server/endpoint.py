"""A model behind HTTP, in the manner of AllenNLP's demo."""

import functools
import inspect
import json
import threading
import time
from collections import defaultdict
from dataclasses import asdict
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict
from allennlp.data import Instance
from allennlp.data.fields import TextField
from allennlp.interpret import InfluenceInterpreter
from allennlp.interpret.saliency_interpreters import SaliencyInterpreter
from allennlp.predictors import Predictor
from allennlp.version import VERSION
from flask import Flask

import allennlp_influence
from allennlp_influence.influence import InfluenceFunctions
from allennlp_influence.report.texts import texts_in_json
from allennlp_influence.saliency import GradientXInput
from allennlp_influence.server import allennlp_interpreters
from allennlp_influence.server.answers import Answers
from allennlp_influence.server.errors import NotFoundError
from allennlp_influence.server.explained import InfluenceInJson
from allennlp_influence.server.model import ALLENNLP_INTERPRETERS, ServedModel
from allennlp_influence.server.requests import MOST_CHARACTERS
from allennlp_influence.server.routes import add_routes
from allennlp_influence.server.serving import serve
from allennlp_influence.server.worker import Job, Worker

GRADIENT_X_INPUT = "gradient_x_input"
INFLUENCE_FUNCTIONS = "influence_functions"

_MOST_PREDICTIONS_WAITING = 256
_MOST_PREDICTIONS_TOGETHER = 32
_MOST_INFLUENCE_WAITING = 8


class InfluenceEndpoint:
    """
    Serves a model's predictions and their explanations, by words and by training examples. It has the shape of
    `ModelEndpoint` of AllenNLP's demo (`allennlp_demo.common.http`) and can take its place there: `app`, `run`,
    `predictor`, `interpreters`, and `load_interpreters`, `info`, `predict` and `interpret` for subclasses to override.

    Predictions and saliency are done by one thread, influence by another, each one after the other: what is quick does
    not wait for what is not.

    # Parameters

    model : `ServedModel`, or `Model` of AllenNLP's demo
    predictor : `Predictor`, optional (default = `model.load_predictor()`)
    influence : `InfluenceFunctions`, optional (default = with the archive's training data and the default solver)
        Only this endpoint may use it.
    top_k : `int`, optional (default = `20`)
        How many training examples an explanation lists on each side.
    most_gigabytes : `float`, optional (default = `8`)
        See `InfluenceFunctions.prepare`.
    """

    def __init__(
        self,
        model: ServedModel,
        predictor: Optional[Predictor] = None,
        influence: Optional[InfluenceFunctions] = None,
        top_k: int = 20,
        most_gigabytes: float = 8.0,
    ) -> None:
        self.model = model
        self.most_gigabytes = most_gigabytes
        self.predictor = predictor or model.load_predictor()
        self.influence = influence or InfluenceInterpreter.from_path(
            model.archive_file,
            interpreter_name="influence-functions",
            overrides=model.overrides or "",
        )
        self.top_k = top_k
        self.interpreters = self.load_interpreters()
        self.answers = Answers()
        self.quick = Worker("predictions", _MOST_PREDICTIONS_WAITING, _MOST_PREDICTIONS_TOGETHER)
        self.slow = Worker("influence", _MOST_INFLUENCE_WAITING)
        self._predictor_lock = threading.RLock()  # its model has one user at a time, its tokenizer too
        self.app = Flask(model.id)
        add_routes(self)

    def load_interpreters(self) -> Dict[str, SaliencyInterpreter]:
        """The saliency interpreters by id."""
        wanted = self.model.interpreters
        return {
            GRADIENT_X_INPUT: GradientXInput(self.predictor),
            **{
                name: interpreter(self.predictor)
                for name, interpreter in ALLENNLP_INTERPRETERS.items()
                if wanted is None or name in wanted
            },
        }

    def prepare(self) -> None:
        """Computes what no query changes, so that none waits for it."""
        self.influence.prepare(self.most_gigabytes)

    def info(self) -> JsonDict:
        """
        What is served: the fields of the model's configuration and the version of AllenNLP, as in its demo; and what
        the page needs to know.
        """
        influence = self.influence
        return {
            **asdict(self.model),
            "allennlp": VERSION,
            "interpreters": [*self.interpreters, INFLUENCE_FUNCTIONS],
            "fields": self.fields,
            "labels": influence.label_names,
            "most_characters": MOST_CHARACTERS,
            "influence": {
                "version": allennlp_influence.__version__,
                "solver": influence.solver_config,
                "damping": influence.solver.damping,
                "num_train": len(influence.examples),
                "trained_parameters": influence.objective.space.size,
                "seconds": self.slow.seconds,
            },
        }

    @property
    def fields(self) -> List[str]:
        """The keys of the texts that the model reads."""
        reader = self.predictor._dataset_reader
        is_pair = "hypothesis" in inspect.signature(reader.text_to_instance).parameters
        return ["premise", "hypothesis"] if is_pair else ["sentence"]

    @functools.cached_property
    def _in_json(self) -> InfluenceInJson:
        return InfluenceInJson(self.influence)

    def predict(self, inputs: JsonDict) -> JsonDict:
        """The predictor's answer."""
        (answer,) = self.predict_batch([inputs])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def predict_batch(self, batch: Sequence[JsonDict]) -> List[Union[JsonDict, Exception]]:
        """
        The predictor's answers, or errors in their places. Texts of the same length go through the model together:
        with padding, which models give back too, an answer would depend on its company.
        """
        with self._predictor_lock:
            answers = [_attempt(self._instance, inputs) for inputs in batch]
            together = defaultdict(list)
            for place, instance in enumerate(answers):
                if isinstance(instance, Instance):
                    together[_lengths(instance)].append(place)
            for places in together.values():
                instances = [answers[place] for place in places]
                outputs = _attempt(self.predictor.predict_batch_instance, instances)
                for i, place in enumerate(places):
                    answers[place] = outputs if isinstance(outputs, Exception) else outputs[i]
        return answers

    def interpret(
        self, interpreter_id: str, inputs: JsonDict, label: str = "predicted"
    ) -> JsonDict:
        """
        # Parameters

        interpreter_id : `str`
        inputs : `JsonDict`
        label : `str`, optional (default = `"predicted"`)
            The label to explain: `predicted`, `gold` or the name of one. AllenNLP's own interpreters know the predicted
            one only.

        # Raises

        `NotFoundError` if there is no such interpreter, `ConfigurationError` for what can't be explained.
        """
        if interpreter_id == INFLUENCE_FUNCTIONS:
            return self._influence(inputs, label)
        interpreter = self.interpreters.get(interpreter_id)
        if interpreter is None:
            raise NotFoundError(
                f"Interpreter with id {interpreter_id!r} is not supported for this model"
                if interpreter_id in ALLENNLP_INTERPRETERS
                else f"No interpreter with id {interpreter_id!r}"
            )
        with self._predictor_lock:
            if isinstance(interpreter, GradientXInput):
                return {"instance_1": self._saliency(inputs, self._instance(inputs), label)}
            if label != "predicted":
                raise ConfigurationError(
                    f"{interpreter_id} explains the predicted label only; leave out 'label', or take {GRADIENT_X_INPUT}"
                )
            return allennlp_interpreters.interpret(interpreter, inputs)

    def start_predict(self, inputs: JsonDict) -> Job:
        """`predict` in its turn; the result is JSON."""
        return self.quick.submit(self._predictions, inputs)

    def start_interpret(self, interpreter_id: str, inputs: JsonDict, label: str) -> Job:
        """`interpret` in its turn; the result is JSON."""
        worker = self.slow if interpreter_id == INFLUENCE_FUNCTIONS else self.quick
        return worker.submit(self._interpretations, (interpreter_id, inputs, label))

    def run(self, port: int = 8000, host: str = "127.0.0.1") -> None:
        """Prepares, and serves until it is interrupted."""
        serve(self, host, port)

    def stop(self) -> None:
        """Gives up what is being done, without waiting for its end."""
        for worker in (self.quick, self.slow):
            worker.stop()

    def close(self) -> None:
        """`stop`, and wait for that."""
        for worker in (self.quick, self.slow):
            worker.close()

    def _predictions(self, batch: List[JsonDict]) -> List[Union[bytes, Exception]]:
        if type(self).predict is InfluenceEndpoint.predict:
            answers = self.predict_batch(batch)
        else:  # a subclass knows better
            answers = [_attempt(self.predict, inputs) for inputs in batch]
        return [a if isinstance(a, Exception) else json.dumps(a).encode() for a in answers]

    def _interpretations(
        self, batch: List[Tuple[str, JsonDict, str]]
    ) -> List[Union[bytes, Exception]]:
        return [_attempt(lambda: json.dumps(self.interpret(*asked)).encode()) for asked in batch]

    def _influence(self, inputs: JsonDict, label: str) -> JsonDict:
        begin = time.perf_counter()
        with self._predictor_lock:
            instance = self._instance(inputs)
        self.influence.label = label
        (explanation,) = self.influence.explain([instance], self.top_k, ["the input"])
        with self._predictor_lock:
            saliency = self._saliency(inputs, instance, explanation.explained)
        influence = self._in_json(explanation, time.perf_counter() - begin)
        return {"instance_1": {**saliency, "influence": influence}}

    def _saliency(self, inputs: JsonDict, instance: Instance, label: str) -> JsonDict:
        interpreter = self.interpreters[GRADIENT_X_INPUT]
        found = interpreter.saliency_interpret_instances([instance], label)["instance_1"]
        text = {name: inputs[name] for name in self.fields if name in inputs}
        return {**found, "texts": texts_in_json(text, found["words"])}

    def _instance(self, inputs: JsonDict) -> Instance:
        instance = self.predictor._json_to_instance(inputs)
        if instance is None:
            raise ConfigurationError("the model's reader leaves this input out; give another text")
        return instance


def _lengths(instance: Instance) -> Tuple[int, ...]:
    return tuple(len(field) for field in instance.fields.values() if isinstance(field, TextField))


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result, or the exception."""
    try:
        return function(*arguments)
    except Exception as error:
        return error
