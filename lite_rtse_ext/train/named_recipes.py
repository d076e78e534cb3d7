"""The recipes that come with the package. The module imports nothing slow: ``lite-rtse train --help`` uses it."""

from __future__ import annotations

from importlib import resources

__all__ = ["RECIPES", "recipe_names"]

RECIPES = resources.files("lite_rtse_ext.train") / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the recipes, sorted."""
    return sorted(entry.name.removesuffix(".yaml") for entry in RECIPES.iterdir() if entry.name.endswith(".yaml"))
