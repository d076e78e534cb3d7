"""A training step on a GPU as one CUDA graph: the losses of a batch and their gradients, launched at once.

Without a graph, the launches of a step can take longer than the step's kernels. The optimizer is not part of the graph.
It works on lists of tensors, with few launches, and may change its settings at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from lite_rtse_ext.data.dataset import Example
from lite_rtse_ext.train.loss import Losses
from lite_rtse_ext.train.recipe import RunRecipe
from lite_rtse_ext.utils.fallback import say_fallback

__all__ = ["Capture", "CudaCapture", "StepGraph", "step_graph"]

_Result = TypeVar("_Result")
_WARM_UP = 3


class Capture(Protocol):
    """Records the work of a function, to repeat it on the same memory."""

    def warm_up(self, work: Callable[[], object]) -> None:
        """Run the function, so that libraries choose their algorithms and allocate their memory."""

    def record(self, work: Callable[[], _Result]) -> tuple[_Result, Callable[[], None]]:
        """Return the function's result, and a function that computes the result's tensors anew."""


class CudaCapture:
    """Records a CUDA graph.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def warm_up(self, work: Callable[[], object]) -> None:
        current = torch.cuda.current_stream(self._device)
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                work()
        current.wait_stream(side)

    def record(self, work: Callable[[], _Result]) -> tuple[_Result, Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        # The thread that pins the memory of later batches may allocate meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = work()
        return result, graph.replay


class StepGraph:
    """Computes losses and gradients of batches by a graph, which it records for the first batch.

    It records anew when other parameters require a gradient. If recording fails, it says so once and computes nothing
    from then on.

    Args:
        module: its parameters get the gradients.
        losses: computes the losses of a batch.
        capture: records the graph.
        batches: number of batches whose gradients one optimizer step accumulates.
    """

    def __init__(
        self, module: nn.Module, losses: Callable[[Example], Losses], capture: Capture, batches: int = 1
    ) -> None:
        self._module, self._compute, self._capture, self._batches = module, losses, capture, batches
        self._recorded: _Recorded | None = None
        self._has_failed = self._has_gradients = False

    def losses(self, batch: Example) -> Losses | None:
        """Compute the losses of a batch, and its gradients.

        Returns:
            The losses, without autograd history. None if there is no graph for this batch: it must be computed without.
        """
        self._has_gradients = False
        trained = [p for p in self._module.parameters() if p.requires_grad]
        if self._has_failed:
            return None
        if self._recorded is None or not _are_same(self._recorded.trained, trained):
            self._recorded = None  # before the next graph needs memory
            self._recorded = self._record(batch, trained)
        recorded = self._recorded
        if recorded is None:
            return None
        if [each.shape for each in batch] != [each.shape for each in recorded.batch]:
            say_fallback(
                f"train computes some steps without a CUDA graph: expected batches of shape "
                f"{tuple(recorded.batch.noisy.shape)}, got {tuple(batch.noisy.shape)}"
            )
            return None
        for new, old in zip(batch, recorded.batch, strict=True):
            old.copy_(new)
        recorded.replay()
        self._has_gradients = True
        return Losses(*recorded.losses.clone().unbind())

    def hand_over_gradients(self) -> bool:
        """Give the parameters the gradients of the last batch. Returns False if no graph has computed them."""
        recorded, self._has_gradients = self._recorded if self._has_gradients else None, False
        if recorded is None:
            return False
        for parameter, gradient in zip(recorded.parameters, recorded.gradients, strict=True):
            if self._batches == 1:
                parameter.grad = gradient
            elif parameter.grad is None:
                parameter.grad = gradient.clone()  # the next batch overwrites the original
            else:
                parameter.grad += gradient
        return True

    def _record(self, batch: Example, trained: list[nn.Parameter]) -> _Recorded | None:
        work = _Work(self._compute, Example(*(each.clone() for each in batch)), trained, self._batches)
        try:
            with _unchanged(self._module, batch.noisy.device):
                self._capture.warm_up(work)
                (losses, parameters, gradients), replay = self._capture.record(work)
        except RuntimeError as error:
            self._has_failed = True
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            say_fallback(f"train computes every step without a CUDA graph, as none could be recorded: {reason}")
            return None
        return _Recorded(work.batch, trained, losses, parameters, gradients, replay)


@dataclass
class _Recorded:
    """A graph, and the memory that it works on."""

    batch: Example
    trained: list[nn.Parameter]
    losses: Tensor
    parameters: list[nn.Parameter]  # those of `trained` that have gradients
    gradients: list[Tensor]
    replay: Callable[[], None]


class _Work:
    """What is recorded: the losses of a batch, and the gradients of their sum."""

    def __init__(
        self, compute: Callable[[Example], Losses], batch: Example, trained: list[nn.Parameter], batches: int
    ) -> None:
        self._compute, self.batch, self._trained, self._batches = compute, batch, trained, batches

    def __call__(self) -> tuple[Tensor, list[nn.Parameter], list[Tensor]]:
        device = self.batch.noisy.device.type
        chosen, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        # Weights that autocast has cast before are not the weights of a later step.
        with torch.enable_grad(), torch.autocast(device, dtype, enabled=chosen, cache_enabled=False):
            losses = self._compute(self.batch)
        with torch.autocast(device, enabled=False):
            found = torch.autograd.grad(losses.total / self._batches, self._trained, allow_unused=True)
        pairs = [(p, g) for p, g in zip(self._trained, found, strict=True) if g is not None]
        # Copies, since autograd may return one tensor for two parameters, and clipping works in place.
        gradients = [torch.empty_like(parameter) for parameter, _ in pairs]
        torch._foreach_copy_(gradients, [gradient for _, gradient in pairs])
        return torch.stack([each.detach() for each in losses]), [parameter for parameter, _ in pairs], gradients


def _are_same(before: list[nn.Parameter], now: list[nn.Parameter]) -> bool:
    return len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True))


@contextmanager
def _unchanged(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Restore buffers, such as running statistics, and random states after the block."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)


def step_graph(
    module: nn.Module, losses: Callable[[Example], Losses], run: RunRecipe, device: torch.device
) -> StepGraph | None:
    """Return the graph of the steps of a run. None on the CPU, or if the run can't have one; it then says why.

    Args:
        module: see :class:`StepGraph`.
        losses: see :class:`StepGraph`.
        run: section run of the recipe.
        device: the device of the run.
    """
    if device.type != "cuda" or not run.cuda_graph:
        return None
    reason = ""
    if run.devices > 1:
        reason = f"the gradients of {run.devices} GPUs are averaged (run.devices)"
    elif run.precision == "16-mixed":
        reason = "the scale of the loss changes from step to step (run.precision is 16-mixed)"
    if reason:
        say_fallback(f"train computes every step without a CUDA graph: {reason}")
        return None
    return StepGraph(module, losses, CudaCapture(device), run.accumulate)
