"""Finds modules of an existing model that may be one of this project's blocks, by the convolutions that they hold.

Names, nesting and the order of registration are ignored, since every author chooses them freely. The criteria are the
number of causal and pointwise convolutions in a module and the number of their channels. These do not show what the
module's forward computes. :mod:`lite_rtse_ext.fusion.swap` runs the forward to determine that. The reconstruction and
the layers of PyTorch's own classes in :data:`LAYERS` are recognized by their class, which defines what they compute.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import torch
from torch import nn
from torch.nn.utils import parametrize

from lite_rtse_ext.nn.conv1d import is_pointwise
from lite_rtse_ext.nn.conv2d import is_strided
from lite_rtse_ext.nn.conv_transpose2d import becomes_convolution, is_depthwise
from lite_rtse_ext.nn.linear import LEAST_WEIGHTS
from lite_rtse_ext.nn.lstm import fusible
from lite_rtse_ext.ops._check import DTYPES
from lite_rtse_ext.reference import MaskResidual, causal_padding, gate_channels
from lite_rtse_ext.utils.hooks import has_hooks

__all__ = ["CAUSAL_COMPLEX_CONV", "COMPLEX_CONV", "Candidate", "complex_candidates", "recognize"]

LAYERS: dict[type[nn.Module], str] = {
    nn.BatchNorm1d: "norm_prelu",
    nn.BatchNorm2d: "norm_prelu",
    nn.Conv1d: "pointwise_conv",
    nn.ConvTranspose2d: "conv_transpose2d",
    nn.GRU: "gru",
    nn.LSTM: "lstm",
    nn.Linear: "linear",
    nn.PReLU: "norm_prelu",
}
"""The class of a layer, and the operator of the fused layer. It needs no comparison."""

COMPLEX_CONV, CAUSAL_COMPLEX_CONV = "complex_conv", "causal_complex_conv"
"""The second puts zeros in front of its input's last axis, as DCCRN's public code does."""

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Candidate:
    """A module that holds the convolutions of an operator.

    ``roles`` lists the orders in which its convolutions, given as paths, may be the operator's operands. There are
    several orders if the shapes do not distinguish the convolutions. ``problems`` lists the reasons why the module
    cannot be fused, whatever its forward computes.
    """

    operator: str
    roles: list[tuple[str, ...]]
    problems: list[str]


@dataclass
class _Parts:
    depthwise: list[str] = field(default_factory=list)
    pointwise: list[str] = field(default_factory=list)
    full: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    pads: dict[str, tuple[int, ...]] = field(default_factory=dict)
    convs: dict[str, nn.Conv2d] = field(default_factory=dict)

    @property
    def causal(self) -> list[str]:
        return self.depthwise + self.full


def recognize(module: nn.Module) -> Candidate | None:
    """The block that a module may be, or None if it resembles no block."""
    if isinstance(module, (nn.ModuleList, nn.ModuleDict)):  # they have no forward
        return None
    if type(module) is MaskResidual:  # it has no parameters, so only its class identifies it
        return Candidate("mask_residual", [()], list(_interference("", module, is_root=True, keeps_parameters=False)))
    if type(module) in LAYERS:
        problems = _interference("", module, is_root=True, keeps_parameters=True)
        return Candidate(LAYERS[type(module)], [()], list(problems)) if _supported(module) else None
    if type(module) is nn.Conv2d and is_strided(module):
        problems = _interference("", module, is_root=True, keeps_parameters=True)
        return Candidate("conv2d", [("",)], list(problems))
    parts = _parts(module)
    for operator, find_roles in _ROLES.items():
        roles = list(find_roles(parts))
        # Any model may hold a single depthwise convolution among many other leaves. A module is a candidate for this
        # operator only if it holds nothing else.
        if roles and not (operator == "causal_dwconv2d" and parts.others):
            return Candidate(operator, roles, list(_problems(module, operator, parts)))
    return None


def complex_candidates(module: nn.Module) -> Iterator[Candidate]:
    """The complex convolutions that a module may be, since it holds two equal convolutions of one group.

    Other modules hold two equal convolutions, too. Only their forward shows which are complex.
    """
    leaves = list(_leaves(module))
    convs = [leaf for _, leaf in leaves if type(leaf) in (nn.Conv2d, nn.ConvTranspose2d)]
    if len(leaves) != 2 or len(convs) != 2 or _sizes(convs[0]) != _sizes(convs[1]):
        return
    conv = convs[0]
    if conv.groups > 1 or conv.padding_mode != "zeros" or isinstance(conv.padding, str):  # type: ignore[operator]
        return
    first, second = (path for path, _ in leaves)
    problems = list(_signature_problems(module))
    for path, inner in module.named_modules():
        problems += _interference(path, inner, is_root=inner is module, keeps_parameters=inner in convs)
    for operator in (COMPLEX_CONV, CAUSAL_COMPLEX_CONV):
        yield Candidate(operator, [(first, second), (second, first)], problems)


def _sizes(conv: nn.Module) -> tuple[object, ...]:
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "output_padding", "groups")
    return type(conv), conv.bias is None, *(getattr(conv, name) for name in names)


def _supported(layer: nn.Module) -> bool:
    """Whether the fused layer ever computes otherwise than PyTorch's."""
    if isinstance(layer, nn.LSTM):
        return fusible(layer)
    if isinstance(layer, nn.Conv1d):
        return is_pointwise(layer)
    if isinstance(layer, nn.Linear):
        return layer.weight.numel() >= LEAST_WEIGHTS
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.bias is not None or is_depthwise(layer) or becomes_convolution(layer)
    return True


def _leaves(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    if isinstance(module, nn.Conv2d) or not any(True for _ in module.children()):
        yield path, module
        return
    for name, child in module.named_children():
        yield from _leaves(child, f"{path}.{name}" if path else name)


def _parts(module: nn.Module) -> _Parts:
    parts = _Parts()
    for path, leaf in _leaves(module):
        if isinstance(leaf, nn.Conv2d):
            parts.convs[path] = leaf
            _conv_list(parts, leaf).append(path)
        elif isinstance(leaf, nn.ZeroPad2d):
            parts.pads[path] = tuple(leaf.padding)
        elif not isinstance(leaf, (nn.Identity, *_CONTAINERS)):
            parts.others.append(path)
    return parts


def _conv_list(parts: _Parts, conv: nn.Conv2d) -> list[str]:
    if conv.kernel_size == (1, 1):
        return parts.pointwise if conv.groups == 1 else parts.others
    if conv.in_channels == conv.out_channels == conv.groups:
        return parts.depthwise
    return parts.full if conv.in_channels == conv.out_channels and conv.groups == 1 else parts.others


def _lone_roles(parts: _Parts) -> Iterator[tuple[str, ...]]:
    if len(parts.depthwise) == 1 and len(parts.convs) == 1:
        yield (parts.depthwise[0],)


def _conv_block_roles(parts: _Parts) -> Iterator[tuple[str, ...]]:
    if len(parts.causal) != 1 or len(parts.pointwise) != 3:
        return
    channels = parts.convs[parts.causal[0]].out_channels
    for entry, leave, skip in permutations(parts.pointwise):
        e, o, s = (parts.convs[path] for path in (entry, leave, skip))
        fits = (o.in_channels, o.out_channels) == (channels, channels) and e.out_channels == s.out_channels == channels
        if fits and e.in_channels == s.in_channels:
            yield (entry, parts.causal[0], leave, skip)


def _multi_order_roles(parts: _Parts) -> Iterator[tuple[str, ...]]:
    # Every channel count of this block occurs once, so the shapes determine the order.
    order = len(parts.depthwise) + 1
    if order < 2 or len(parts.pointwise) != order + 1 or parts.full:
        return
    wide = max(parts.convs[path].out_channels for path in parts.pointwise)
    if wide % 2**order:
        return
    channels = wide // 2
    gates = gate_channels(channels, order)
    depthwise = _by_channels(parts, parts.depthwise, [(wide - gate, wide - gate) for gate in gates])
    for out_channels in (1, channels):
        inner = [(gate, 2 * gate) for gate in gates]
        pointwise = _by_channels(parts, parts.pointwise, [(None, wide), *inner, (channels, out_channels)])
        if depthwise and pointwise:
            yield (pointwise[0], *depthwise, *pointwise[1:])


def _by_channels(
    parts: _Parts, paths: Sequence[str], wanted: Sequence[tuple[int | None, int]]
) -> tuple[str, ...] | None:
    """The convolution for each pair (in, out) of channels. An input of None fits any number.

    The result is None unless exactly one convolution fits each pair.
    """
    found = []
    for inputs, outputs in wanted:
        fits = [
            path
            for path in paths
            if inputs in (None, parts.convs[path].in_channels) and outputs == parts.convs[path].out_channels
        ]
        found += fits if len(fits) == 1 else []
    return tuple(found) if len(found) == len(wanted) else None


_ROLES: dict[str, Callable[[_Parts], Iterator[tuple[str, ...]]]] = {
    "multi_order_conv": _multi_order_roles,
    "conv_block": _conv_block_roles,
    "causal_dwconv2d": _lone_roles,
}


def _problems(module: nn.Module, operator: str, parts: _Parts) -> Iterator[str]:
    if isinstance(module, torch.jit.ScriptModule):
        yield "it is compiled by TorchScript"
        return
    yield from _signature_problems(module)
    for path in parts.others:
        yield f"holds {_called(path, module.get_submodule(path))}"
    if parts.full:
        yield f"{_called(parts.full[0], parts.convs[parts.full[0]])} is not depthwise, and only that is fused"
    for path, inner in module.named_modules():
        yield from _interference(path, inner, is_root=inner is module, keeps_parameters=path in parts.convs)
    for path, conv in parts.convs.items():
        yield from _conv_problems(path, conv, may_dilate=operator == "causal_dwconv2d")
    yield from _causal_problems(operator, parts)
    yield from _placement_problems(parts)


def _signature_problems(module: nn.Module) -> Iterator[str]:
    signature = inspect.signature(module.forward)
    if [p.kind for p in signature.parameters.values()] != [inspect.Parameter.POSITIONAL_OR_KEYWORD]:
        yield f"its forward takes {signature}, not one tensor"


def _called(path: str, module: nn.Module) -> str:
    return f"{path} ({type(module).__name__})" if path else type(module).__name__


def _interference(path: str, module: nn.Module, is_root: bool, keeps_parameters: bool) -> Iterator[str]:
    """Reasons why this module cannot be fused, since its forward would no longer run or would run in another class.

    ``keeps_parameters`` states that the operator receives the module's parameters.
    """
    name = path or "it"
    if "forward" in vars(module):
        yield f"{name} has a forward of its own, set on the instance"
    if not is_root and has_hooks(module):
        yield f"{name} has hooks, which would no longer run"
    if parametrize.is_parametrized(module):
        yield f"{name} is parametrized"
    elif not keeps_parameters:
        own = [name for name, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))]
        if own:
            yield f"{name} holds a tensor of its own ({', '.join(own)})"


def _conv_problems(path: str, conv: nn.Conv2d, may_dilate: bool) -> Iterator[str]:
    name = path or "it"
    if type(conv) is not nn.Conv2d and not parametrize.is_parametrized(conv):
        yield f"{name} is a {type(conv).__name__}, a subclass of Conv2d that may compute otherwise"
    if conv.stride != (1, 1):
        yield f"{name} has stride {conv.stride}"
    if conv.dilation != (1, 1) and not (may_dilate and conv.dilation[1] == 1):
        yield f"{name} has dilation {conv.dilation}"
    if conv.padding_mode != "zeros":
        yield f"{name} pads with {conv.padding_mode}, not with zeros"


def _causal_problems(operator: str, parts: _Parts) -> Iterator[str]:
    kernels = {(conv.kernel_size[0], conv.kernel_size[1]) for conv in map(parts.convs.__getitem__, parts.causal)}
    kt, kf = kernel = next(iter(kernels))
    if len(kernels) > 1:
        yield f"its depthwise kernels differ: {', '.join(map(str, sorted(kernels)))}"
    elif kt % 2 == 0 or kf % 2 == 0:
        yield f"its kernel {kernel} is not odd"
    elif operator == "conv_block" and kernel != (3, 3):
        yield f"its kernel is {kernel}, not (3, 3)"
    elif operator == "multi_order_conv" and kt != kf:
        yield f"its kernel {kernel} is not square"
    else:
        yield from _padding_problems(parts, kernel, max(parts.convs[path].dilation[0] for path in parts.causal))


def _padding_problems(parts: _Parts, kernel: tuple[int, int], dilation: int) -> Iterator[str]:
    causal = causal_padding(kernel, dilation)
    for path, found in parts.pads.items():
        if found == (causal[2], 0, *causal[:2]):
            yield f"{path} pads {found}, causal along the last dimension; features must be (B, C, T, F), time first"
        elif found != causal:
            yield f"{path} pads {found}, which is not causal; {causal} is"
    # The convolution may also pad both ends of time itself. The forward must then remove the excess frames at the end.
    # If the convolution is the block itself, its surroundings pad the frames, and may pad the bins.
    inside, outside = (causal[2], causal[0]), (0, causal[0])
    for path in parts.causal:
        padding = parts.convs[path].padding
        if padding not in ({(0, 0), inside} if path else {(0, 0), outside}):
            yield f"{path or 'it'} pads {padding}, which is not causal"
    for path in parts.pointwise:
        if parts.convs[path].padding != (0, 0):
            yield f"{path} is pointwise and pads {parts.convs[path].padding}"


def _placement_problems(parts: _Parts) -> Iterator[str]:
    tensors = [tensor for conv in parts.convs.values() for tensor in conv.parameters()]
    dtypes = {tensor.dtype for tensor in tensors}
    devices = {tensor.device for tensor in tensors}
    if len(dtypes) > 1 or not dtypes.issubset(DTYPES):
        yield f"its parameters are {', '.join(sorted(map(str, dtypes)))}"
    if len(devices) > 1 or next(iter(devices)).type not in ("cpu", "cuda", "meta"):
        yield f"its parameters are on {', '.join(sorted(map(str, devices)))}"
