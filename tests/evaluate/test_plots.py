"""Plots of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lite_rtse_ext.evaluate import plots
from lite_rtse_ext.evaluate.result import Result

LABELS = ["a $5_$ note", "cost$", "_hidden"]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were drawn."""
    drawn: list[Any] = []
    save = plots._save

    def save_and_keep(figure: Any, path: Path) -> None:
        save(figure, path)
        drawn.append(figure)

    monkeypatch.setattr(plots, "_save", save_and_keep)
    return drawn


def texts(figure: Any) -> str:
    """All texts of a figure that say something, as matplotlib shows them."""
    from matplotlib.text import Text

    shown = [text._preprocess_math(text.get_text()) for text in figure.findobj(Text) if text.get_visible()]
    assert not any(is_formula for _, is_formula in shown)
    return "\n".join(text for text, _ in shown)


def test_names_are_shown_as_they_are(figures: list[Any], tmp_path: Path) -> None:
    results = [Result(label, label, None, 1.0, {"si_snr": 1.0}, {"si_snr": 2.0}) for label in LABELS]
    plots.plot_gains(results, tmp_path / "gains.png")
    plots.plot_recordings(results, tmp_path / "recordings.png")
    plots.plot_spectrograms({label: torch.randn(16_000) for label in LABELS}, tmp_path / "spectrograms.png")
    for figure in figures:
        assert all(label in texts(figure) for label in LABELS)
    assert len(figures) == 3
