"""The networks by name. The names need no torch. A network is imported when it is requested.

A network of another package is found by an entry point of the group ``lite_rtse_ext.models``. The entry point's name is
the architecture, and its value is the class. A network of your own program is found after a call of :func:`register`.
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
_BUILT_IN = {
    "dccrn": "lite_rtse_ext.models.dccrn:DCCRN",
    "dpcrn": "lite_rtse_ext.models.dpcrn:DPCRN",
    "dpcrn-cf": "lite_rtse_ext.models.dpcrn_cf:DPCRNCF",
    "dtln": "lite_rtse_ext.models.dtln:DTLN",
    "gagnet": "lite_rtse_ext.models.gagnet:GaGNet",
    "gtcrn": "lite_rtse_ext.models.gtcrn:GTCRN",
    "lite-rtse": "lite_rtse_ext.models.lite_rtse:LiteRTSE",
}
_registered: dict[str, type[SpectrogramModel]] = {}


def register(network: Class) -> Class:
    """Register a network under the name in its attribute ``architecture``. Use it as a decorator of the class.

    Args:
        network: the class.

    Returns:
        The same class.

    Raises:
        ValueError: the class has no name, or another network has the same name.
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
    """The classes that were registered in this process. Another process can register them too."""
    return tuple(_registered.values())


def model_names() -> list[str]:
    """Names of all networks that :func:`create_model` can create."""
    return sorted({*_BUILT_IN, *_registered, *_installed()})


def find_model(name: str) -> type[SpectrogramModel]:
    """The class of a network.

    Raises:
        ImportError: the package that contains it cannot be imported.
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
    """Create a network with its initial parameters.

    Args:
        name: one of :func:`model_names`.
        config: arguments of its constructor.

    Returns:
        The network.

    Raises:
        ValueError: there is no network of this name, or it refuses the arguments.
    """
    return find_model(name)(**config)


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
