"""Finds batch norms whose result only a PReLU reads. Both are then one call of the operator ``norm_prelu``.

The forward of the module that holds both is traced by ``torch.fx``. The graph shows who reads the result of the batch
norm. A forward that cannot be traced, because it branches on the values of tensors for example, gives no pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import fx, nn

__all__ = ["norm_prelu_pairs"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_WITHOUT_FORWARD = (nn.ModuleList, nn.ModuleDict)


def norm_prelu_pairs(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """The batch norms and the PReLUs that read their results.

    A layer that is registered in two places of the model, or called twice, belongs to no pair.
    """
    places = Counter(child for module in model.modules() for child in module.children())
    for module in model.modules():
        near = {path: layer for path, layer in _near(module) if places[layer] == 1}
        kinds = [sum(isinstance(layer, kind) for layer in near.values()) for kind in (_NORMS, nn.PReLU)]
        if all(kinds):
            for norm, act in sorted(_in_graph(module, near, True) & _in_graph(module, near, False)):
                yield near[norm], near[act]


def _near(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers that the module's own forward calls, by their paths."""
    for name, child in module.named_children():
        where = f"{path}.{name}" if path else name
        if isinstance(child, _WITHOUT_FORWARD):
            yield from _near(child, where)
        else:
            yield where, child


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return True


def _in_graph(module: nn.Module, near: dict[str, nn.Module], training: bool) -> set[tuple[str, str]]:
    """The pairs of paths in the graph of one mode."""
    mode, module.training = module.training, training
    try:
        graph = _Tracer().trace(module)
    except Exception:  # other code may raise anything; its layers stay apart
        return set()
    finally:
        module.training = mode
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    found = set()
    for norm in graph.nodes:
        act = next(iter(norm.users), None)
        if act is None or len(norm.users) > 1 or act.op != "call_module" or act.args != (norm,) or act.kwargs:
            continue
        layers = near.get(str(norm.target)), near.get(str(act.target))
        once = calls[norm.target] == calls[act.target] == 1
        if norm.op == "call_module" and once and isinstance(layers[0], _NORMS) and isinstance(layers[1], nn.PReLU):
            found.add((str(norm.target), str(act.target)))
    return found
