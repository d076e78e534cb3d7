"""The library is built once, and only where something changed."""

from __future__ import annotations

import subprocess

import pytest

from .library import ROOT, Library


@pytest.fixture(scope="session")
def library() -> Library:
    subprocess.run(["make", "--silent", "-C", str(ROOT / "csrc" / "capi")], check=True)
    return Library()
