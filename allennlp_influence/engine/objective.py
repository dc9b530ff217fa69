"""The training loss as a function of the trained parameters."""

import copy
import logging
import time
import warnings
from contextlib import ExitStack, contextmanager
from typing import Collection, Dict, Iterator, List, Mapping, Optional, Tuple

import torch
from allennlp.common.checks import ConfigurationError
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.frozen_prefix import FrozenPrefix
from allennlp_influence.engine.parameters import ParameterSpace

logger = logging.getLogger(__name__)


class Objective:
    """
    A classifier's per-example cross-entropy L_i(θ) and logits z_i(θ) as pure functions of its trained
    parameters θ, in eval mode.

    The caller's model is never touched: the engine works on a private copy of the module tree that shares
    the tensors. Where the model begins with frozen layers of a Hugging Face encoder, the copy begins
    above them, and `prepare` runs them once for a batch.

    # Parameters

    model : `nn.Module`, required
        Its forward pass takes `Batch.inputs` and returns a dict with `logits` or `probs`, `(batch_size,
        num_classes)`.
    trained : `Collection[str]`, required
        Names of the parameters that training updated. Those among them that the logits don't depend on
        are left out.
    example : `Batch`, required
        A few examples, at best of unequal length, to find out on them which parameters the logits depend
        on and which short cuts are exact.

    # Raises

    `ConfigurationError` if the model gives no logits or no parameter of `trained` reaches them.
    """

    def __init__(self, model: nn.Module, trained: Collection[str], example: Batch) -> None:
        self._whole = _private_copy(model, trained)
        self.device = example.labels.device
        used = self._used(trained, example)
        self.parameters: Dict[str, Tensor] = {
            name: parameter.detach()
            for name, parameter in self._whole.named_parameters()
            if name in used
        }
        self.space = ParameterSpace(self.parameters)
        self.has_recurrence = any(isinstance(m, nn.RNNBase) for m in self._whole.modules())
        self.prefix = FrozenPrefix.find(self._whole, used)
        self.model = self._whole
        self.notes: List[str] = []
        self._cut(used, example)
        self.forward_mode = self._forward_mode_works(example)

    def logits(self, parameters: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Logits `(batch_size, num_classes)` at θ = `parameters`."""
        model = self.model if self.has_constants(batch) else self._whole
        return read_logits(
            functional_call(model, {**parameters, **batch.constants}, kwargs=batch.inputs)
        )

    def has_constants(self, batch: Batch) -> bool:
        """Whether a prepared batch is for the model without its frozen layers."""
        return self.prefix is None or bool(batch.constants)

    def losses(self, parameters: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Cross-entropy of every example `(batch_size,)`, in nats, at θ = `parameters`."""
        return nn.functional.cross_entropy(
            self.logits(parameters, batch), batch.labels, reduction="none"
        )

    def own_loss(self, batch: Batch) -> Tuple[Optional[float], float]:
        """
        The model's own loss of an unprepared batch (`None` if it gives none) and the mean cross-entropy of its
        logits, which should be the same.
        """
        with torch.no_grad():
            output = self._whole(**{**batch.inputs, "label": batch.labels})
            ours = nn.functional.cross_entropy(read_logits(output), batch.labels)
        return float(output["loss"]) if "loss" in output else None, float(ours)

    def clock(self) -> float:
        """Seconds, once the device has done what it was given: a GPU goes on working when a call has returned."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def prepare(self, batch: Batch) -> Batch:
        """The batch with the outputs of the frozen layers, if the model begins with such."""
        if self.prefix is None:
            return batch
        hidden = self.prefix.outputs(self._whole, batch)
        if len(hidden) != len(batch.labels):
            return batch  # texts that are folded into several rows each: the whole model is run on them
        return batch._replace(constants={self.prefix.constant: hidden})

    def gradient(self, batch: Batch) -> Tensor:
        """∇ of the summed loss of a prepared batch, `(space.size,)`."""
        parameters = self.leaves()
        with self.differentiable_twice():
            loss = self.losses(parameters, batch).sum()
            gradients = torch.autograd.grad(loss, list(parameters.values()))
        return self.space.flatten(dict(zip(parameters, gradients)))

    def logit_gradients(self, batch: Batch) -> Tensor:
        """∇ of each logit of a prepared batch of one, `(num_classes, space.size)`."""
        parameters = self.leaves()
        logits = self.logits(parameters, batch)[0]
        rows = [
            torch.autograd.grad(logit, list(parameters.values()), retain_graph=True) for logit in logits
        ]
        return torch.stack([self.space.flatten(dict(zip(parameters, row))) for row in rows])

    def at(self, parameters: Mapping[str, Tensor]) -> "Objective":
        """The same objective at other values of the trained parameters."""
        other = copy.copy(self)
        other.parameters = {name: parameters[name] for name in self.parameters}
        return other

    def leaves(self) -> Dict[str, Tensor]:
        """θ as fresh leaves that record gradients."""
        return {name: p.detach().requires_grad_() for name, p in self.parameters.items()}

    @contextmanager
    def differentiable_twice(self) -> Iterator[None]:
        """
        Choose kernels that have second derivatives and forward-mode ones: not fused attention, not the
        fused recurrent ones.
        """
        with ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if self.has_recurrence:
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # of what Intel's GPUs could do
                    stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
            yield

    def _used(self, trained: Collection[str], example: Batch) -> Collection[str]:
        candidates = {n: p for n, p in self._whole.named_parameters() if n in set(trained)}
        if not candidates:
            raise ConfigurationError("no trained parameter is left: everything is frozen")
        logits = read_logits(self._whole(**example.inputs))
        if not logits.requires_grad:
            raise ConfigurationError("the logits depend on none of the trained parameters")
        self.num_classes = logits.shape[1]
        gradients = torch.autograd.grad(
            logits.sum(), list(candidates.values()), allow_unused=True
        )
        return {name for name, gradient in zip(candidates, gradients) if gradient is not None}

    def _cut(self, used: Collection[str], example: Batch) -> None:
        """Begin above the frozen layers, by the shortest way that gives the same logits."""
        if self.prefix is None:
            return
        with torch.no_grad():
            expected = read_logits(self._whole(**example.inputs))
            prepared = self.prepare(example)
            for first_position_only in (True, False) if prepared.constants else ():
                self.model = _private_copy(self._whole, used)
                try:
                    self.prefix.cut(self.model, first_position_only)
                    logits = self.logits(self.parameters, prepared)
                except (RuntimeError, TypeError, AttributeError, ValueError):
                    continue
                if logits.shape == expected.shape and torch.allclose(
                    logits, expected, rtol=1e-4, atol=1e-4
                ):
                    self.first_position_only = first_position_only
                    return
        self.notes.append("the frozen layers are run at every visit: the model needs their outputs")
        self.prefix, self.model = None, self._whole

    def _forward_mode_works(self, example: Batch) -> bool:
        batch = self.prepare(example)
        try:
            with self.differentiable_twice():
                jvp(lambda p: self.logits(p, batch), (self.parameters,), (self.parameters,))
        except (RuntimeError, NotImplementedError) as error:
            self.notes.append(
                "no forward-mode derivative of this model; products take the slower reverse mode "
                f"({str(error).splitlines()[0]})"
            )
            return False
        return True


def read_logits(output: Mapping[str, Tensor]) -> Tensor:
    """
    The logits `(batch_size, num_classes)` of a model's output, from `logits` or, as their logarithm, from
    `probs`.

    # Raises

    `ConfigurationError` if there is neither, or not one row per example.
    """
    if not isinstance(output, Mapping):
        raise ConfigurationError(f"the model returns a {type(output).__name__}, not a dictionary")
    if "logits" in output:
        logits = output["logits"]
    elif "probs" in output:
        logits = output["probs"].clamp_min(torch.finfo(output["probs"].dtype).tiny).log()
    else:
        raise ConfigurationError(
            f"the model's output has neither 'logits' nor 'probs' (it has {sorted(output)}): only "
            "classifiers can be explained"
        )
    if logits.dim() != 2:
        raise ConfigurationError(
            f"the model's logits have shape {tuple(logits.shape)}, not (examples, classes): it labels "
            "something else than whole texts, only classifiers of texts can be explained"
        )
    return logits


def _private_copy(model: nn.Module, trained: Collection[str]) -> nn.Module:
    """
    A copy of the module tree in eval mode whose parameters share the tensors of `model` and record
    gradients only if they are in `trained`.
    """
    trained, memo = set(trained), {}
    for name, parameter in model.named_parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=name in trained)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer
    return copy.deepcopy(model, memo).eval()
