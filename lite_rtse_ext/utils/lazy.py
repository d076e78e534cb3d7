"""Lazy imports: the names of a package are loaded at first use.

torch takes seconds to import, and most commands do not need it. Where it is not installed, a name that needs it raises
an ImportError that says what to install.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType

from lite_rtse_ext.utils.extras import needs_torch

__all__ = ["lazy"]


def lazy(package: str, homes: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package, which loads the package's names at first use.

    A loaded name becomes an attribute of the package, so that later uses cost no call.

    Args:
        package: the package's name.
        homes: the names that each submodule provides. A submodule without names is itself loaded at first use.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def load(name: str) -> object:
        if name in home_of:
            value = getattr(_imported(package, home_of[name], name), name)
            setattr(sys.modules[package], name, value)
            return value
        if name in homes:
            return _imported(package, name, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return load, names


def _imported(package: str, module: str, name: str) -> ModuleType:
    try:
        return import_module(f"{package}.{module}")
    except ImportError as error:
        message = needs_torch(f"{package}.{name}", error)
        if message is None:
            raise
        raise ImportError(message, name=error.name) from error
