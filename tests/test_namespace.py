"""No module hides a function or class of its package, and every name that a package promises is there."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

import lite_rtse_ext

PACKAGES = [
    info.name
    for info in pkgutil.walk_packages(lite_rtse_ext.__path__, "lite_rtse_ext.")
    if info.ispkg and hasattr(import_module(info.name), "__all__")
]


@pytest.mark.parametrize("name", ["lite_rtse_ext", *PACKAGES])
def test_names_are_what_they_seem(name: str) -> None:
    package = import_module(name)
    modules = {info.name for info in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(package.__all__)
    for public in package.__all__:
        assert not isinstance(getattr(package, public), ModuleType)


@pytest.mark.parametrize("name", ["lite_rtse_ext", *PACKAGES])
def test_a_name_is_loaded_once(name: str) -> None:
    package = import_module(name)
    assert {*package.__all__, "__name__"} <= set(dir(package))
    for public in package.__all__:
        assert getattr(package, public) is vars(package)[public]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'lite_rtse_ext\.audio' has no attribute 'nothing'"):
        lite_rtse_ext.audio.nothing  # noqa: B018
