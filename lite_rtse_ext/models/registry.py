"""The networks by name. Names need no torch; a network is imported when it is asked for.

A network of another package is found by an entry point of the group ``lite_rtse_ext.models``: its name is the
architecture, its value the class. A network of a program of one's own is found once :func:`register` has seen it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from lite_rtse_ext.interface import SpectrogramModel

__all__ = ["create_model", "find_model", "model_names", "register", "registered"]

Class = TypeVar("Class", bound="type[SpectrogramModel]")

GROUP = "lite_rtse_ext.models"
_BUILT_IN = {"lite-rtse": "lite_rtse_ext.models.lite_rtse:LiteRTSE"}
_registered: dict[str, type[SpectrogramModel]] = {}


def register(network: Class) -> Class:
    """Give a network its place under the name ``architecture``. It is meant as a decorator of the class.

    Raises:
        ValueError: the class has no name, or the name is another network's.
    """
    name, path = network.architecture, _path(network)
    if not name:
        raise ValueError(f"{network.__name__}.architecture: expected a name, got {name!r}")
    taken = _BUILT_IN.get(name) or (name in _registered and _path(_registered[name]))
    if taken and taken != path:
        raise ValueError(f"{network.__name__}.architecture: expected a name of its own, got {name!r}, which is {taken}")
    _registered[name] = network
    return network


def _path(network: type) -> str:
    return f"{network.__module__}:{network.__qualname__}"


def registered() -> tuple[type[SpectrogramModel], ...]:
    """The classes that :func:`register` has seen in this process, for another process to register."""
    return tuple(_registered.values())


def model_names() -> list[str]:
    """Names of all networks that can be created."""
    return sorted({*_BUILT_IN, *_registered, *_installed()})


def find_model(name: str) -> type[SpectrogramModel]:
    """The class of a network.

    Raises:
        ImportError: the package that has it can't be imported.
        ValueError: there is no network of this name.
    """
    if name in _registered:
        return _registered[name]
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        found: type[SpectrogramModel] = getattr(import_module(module), attribute)
        return found
    if name in _installed():
        network: type[SpectrogramModel] = _installed()[name].load()
        return register(network)
    raise ValueError(f"name: expected one of {', '.join(model_names())}, got {name!r}")


def create_model(name: str, **config: Any) -> SpectrogramModel:
    """A network with its initial values.

    Args:
        name: one of :func:`model_names`.
        config: arguments of its constructor.

    Raises:
        ValueError: there is no network of this name, or it refuses the arguments.
    """
    return find_model(name)(**config)


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
