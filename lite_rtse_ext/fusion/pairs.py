"""Finds batch norms whose result only a PReLU reads. Both are then one call of the operator ``norm_prelu``.

The forward of the module that holds both is traced by ``torch.fx``. The graph shows who reads the result of the batch
norm. A forward that cannot be traced, because it branches on the values of tensors for example, gives no pairs.
"""

from __future__ import annotations

import copy
import inspect
from collections import Counter, deque
from collections.abc import Iterator
from itertools import product
from typing import Any

from torch import fx, nn

from lite_rtse_ext.nn.norm_prelu import Pair

__all__ = ["norm_prelu_pairs"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_WITHOUT_FORWARD = (nn.ModuleList, nn.ModuleDict)
_CONTAINERS = (deque, dict, list, set)


def norm_prelu_pairs(model: nn.Module) -> Iterator[Pair]:
    """The batch norms and the PReLUs that read their results.

    A layer that is registered in two places of the model, or called twice, belongs to no pair.
    """
    places = Counter(child for module in model.modules() for child in module.children())
    for module in model.modules():
        near = {path: layer for path, layer in _near(module) if places[layer] == 1}
        kinds = [sum(isinstance(layer, kind) for layer in near.values()) for kind in (_NORMS, nn.PReLU)]
        if all(kinds) and "forward" not in vars(module):  # torch.fx would trace the forward of the class
            graphs = product((True, False), _arguments(module))
            for norm, act in sorted(set.intersection(*(_in_graph(module, near, *graph) for graph in graphs))):
                yield Pair(module, norm, act)


def _near(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers that the module's own forward calls, by their paths."""
    for name, child in module.named_children():
        where = f"{path}.{name}" if path else name
        if isinstance(child, _WITHOUT_FORWARD):
            yield from _near(child, where)
        else:
            yield where, child


def _arguments(module: nn.Module) -> list[dict[str, Any]]:
    """With which arguments of fixed values to trace the forward: with none, and with the defaults if there are any.

    A forward may test whether an argument is None, which an argument without a fixed value never is.
    """
    parameters = inspect.signature(module.forward).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    return [{}, defaults] if defaults else [{}]


def _twin(module: nn.Module, training: bool) -> nn.Module:
    """A module with the same layers. What its forward stores in it, does not come into the other."""
    twin: nn.Module = object.__new__(type(module))
    for name, value in vars(module).items():
        vars(twin)[name] = _copied(value)
    twin.training = training
    return twin


def _copied(value: Any) -> Any:
    """The value with copies of the containers in it, and with the same of all else."""
    if isinstance(value, dict):
        names = copy.copy(value)
        names.update((name, _copied(each)) for name, each in value.items())
        return names
    if isinstance(value, (list, deque)):
        row = copy.copy(value)
        row.clear()
        row.extend(map(_copied, value))
        return row
    return copy.copy(value) if isinstance(value, set) else value


def _stored(value: Any) -> Iterator[fx.Node]:
    """The results that a traced forward has stored in a container."""
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, fx.Proxy):
            yield each.node
        elif isinstance(each, (*_CONTAINERS, tuple)):
            yield from _stored(each)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return True


def _in_graph(
    module: nn.Module, near: dict[str, nn.Module], training: bool, fixed: dict[str, Any]
) -> set[tuple[str, str]]:
    """The pairs of paths in the graph of one mode, for arguments of these fixed values."""
    try:
        twin = _twin(module, training)
        graph = _Tracer().trace(twin, fixed or None)
        stored = set(_stored(vars(twin)))
    except Exception:  # other code may raise anything; its layers stay apart
        return set()
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    found = set()
    for norm in graph.nodes:
        act = next(iter(norm.users), None)
        if act is None or len(norm.users) > 1 or norm in stored:
            continue
        if act.op != "call_module" or act.args != (norm,) or act.kwargs:
            continue
        layers = near.get(str(norm.target)), near.get(str(act.target))
        once = calls[norm.target] == calls[act.target] == 1
        if norm.op == "call_module" and once and isinstance(layers[0], _NORMS) and isinstance(layers[1], nn.PReLU):
            found.add((str(norm.target), str(act.target)))
    return found
