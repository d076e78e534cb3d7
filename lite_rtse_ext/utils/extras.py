"""What to install where a package is missing. The streaming engine needs no extra, and all else needs torch."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

__all__ = ["needs_torch", "require", "require_torch"]


def require(purpose: str, extra: str, names: Iterable[str]) -> None:
    """Check that packages are installed.

    Args:
        purpose: what needs them, for the message.
        extra: the extra of this package that brings them.
        names: the names under which they are imported.

    Raises:
        ImportError: a package is missing. The message says what to install.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ImportError(f"{purpose} needs {', '.join(missing)}: {_how(extra)}")


def require_torch(purpose: str) -> None:
    """Check that torch is installed, as :func:`require`."""
    require(purpose, "torch", ("torch",))


def needs_torch(purpose: str, error: ImportError) -> str | None:
    """The message of :func:`require_torch` if an import failed for want of torch. None if it failed otherwise."""
    return f"{purpose} needs torch: {_how('torch')}" if error.name == "torch" else None


def _how(extra: str) -> str:
    return f"pip install 'lite-rtse-ext[{extra}]'"
