"""AllenNLP's own saliency interpreters, kept from leaving traces on a model that others use too."""

from contextlib import contextmanager
from typing import Iterator

import torch
from allennlp.common.util import JsonDict
from allennlp.interpret.saliency_interpreters import SaliencyInterpreter

from allennlp_influence.saliency.embeddings import undisturbed


def interpret(interpreter: SaliencyInterpreter, inputs: JsonDict) -> JsonDict:
    """
    What the interpreter says of the inputs; always the same, though `smooth-gradient` draws noise from torch's global
    generator.
    """
    model = interpreter.predictor._model
    with undisturbed(model), _restored(model):
        torch.manual_seed(0)
        return interpreter.saliency_interpret_from_json(inputs)


@contextmanager
def _restored(model: torch.nn.Module) -> Iterator[None]:
    """
    Afterwards gradients and hooks are as before: an error leaves AllenNLP's hooks on the model, and every parameter with
    `requires_grad`.
    """
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    hooks = [
        (own, dict(own))
        for module in model.modules()
        for own in (module._forward_hooks, module._backward_hooks)
    ]
    try:
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad, parameter.grad = flag, None
        for own, before in hooks:
            for key in own.keys() - before.keys():
                del own[key]
