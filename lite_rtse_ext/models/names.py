"""Names of a network's parameters, without the parts that wrappers around the network added. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

from lite_rtse_ext.utils.listing import listed

__all__ = ["bare", "network_parameters", "unwrapped"]

Value = TypeVar("Value")

# DistributedDataParallel and similar wrappers, torch.compile, FSDP, activation checkpointing. Each adds its name before
# the name of the module that it wraps. That module may be the network or a module inside it.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_COUNTER = "n_averaged"  # AveragedModel stores it beside the parameters
_TELLING = "fc1.weight"


def bare(name: str) -> str:
    """A name without the parts that wrappers added."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def unwrapped(state: Mapping[str, Value], wanted: Collection[str]) -> dict[str, Value]:
    """Values by a network's own names.

    This function removes the names of PyTorch's wrappers at any position, and AveragedModel's counter. It also removes
    the prefix of a module that holds the network, such as ``model.`` in a Lightning checkpoint. A name without the
    prefix is kept.

    Args:
        state: values by name.
        wanted: names that the network has, at least one.

    Returns:
        The values by their new names.

    Raises:
        ValueError: several prefixes fit, or two names become the same.
    """
    names = {name: bare(name) for name in state}
    names = {name: short for name, short in names.items() if short in wanted or short.split(".")[-1] != _COUNTER}
    prefixes = _prefixes(set(names.values()), wanted)
    if len(prefixes) > 1:
        raise ValueError(f"holds several networks, under {' and '.join(prefixes)}: give the parameters of one")
    prefix = prefixes[0] if prefixes else ""
    found: dict[str, Value] = {}
    for name, short in names.items():
        own = short.removeprefix(prefix)
        if own in found:
            raise ValueError(f"holds {own} twice, once as {name}")
        found[own] = state[name]
    return found


def _prefixes(names: Collection[str], wanted: Collection[str]) -> list[str]:
    """The prefixes under which all wanted names exist. If the names have no prefix, only the empty prefix."""
    first = min(wanted)
    if first in names:
        return [""]
    before = sorted(name.removesuffix(first) for name in names if name.endswith(f".{first}"))
    return [prefix for prefix in before if all(f"{prefix}{name}" in names for name in wanted)]


def network_parameters(state: Mapping[str, Value]) -> dict[str, Value]:
    """Parameters of Lite-RTSE by their own names, as :func:`unwrapped` finds them.

    Raises:
        ValueError: there are no parameters of Lite-RTSE, or there are those of several networks.
    """
    found = unwrapped(state, (_TELLING,))
    if _TELLING not in found:
        raise ValueError(f"no parameters of Lite-RTSE: {_TELLING} is missing; found: {listed(state) or 'nothing'}")
    return found
