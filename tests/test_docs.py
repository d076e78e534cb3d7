"""Every Python example of README and docs runs as it stands there, and every link between files leads somewhere."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from .prose import faults

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").glob("**/*.md"))
EXAMPLES = {
    f"{page.relative_to(ROOT)} {number}": code
    for page in PAGES
    if page.exists()
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
}
FRAMEWORKS = {"pipecat": "frames", "livekit": "rtc"}
"""Packages of voice agents that `make agents` installs, and a module that tells whether they are there."""

MOST_README_LINES = 130

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="runs in a checkout only")


def test_there_are_examples() -> None:
    assert sum(name.startswith("README") for name in EXAMPLES) >= 2
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for framework in re.findall(r"^from (pipecat|livekit)", EXAMPLES[name], re.MULTILINE):
        pytest.importorskip(f"{framework}.{FRAMEWORKS[framework]}", reason=f"no {framework} here: see `make agents`")
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLES[name], name, "exec"), {"__name__": "example"})


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda page: page.name)
def test_included_files_are_there(page: Path) -> None:
    """A formatter may take the mark of an inclusion for code, and damage it."""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("--8"):
            included = re.fullmatch(r'--8<-- "(.+)"', line.strip())
            assert included, line
            assert (ROOT / included[1]).exists(), line


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("docs/adding-a-data-source.md", "vctk_demand"),
        ("docs/adding-a-model.md", "lite_rtse"),
        ("docs/adding-an-operator.md", "causal_dwconv2d"),
        ("CONTRIBUTING.md", "enhance"),
    ],
)
def test_the_files_that_a_guide_names_are_there(page: str, name: str) -> None:
    """NAME stands for a name, here for that of something that the package has."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("NAME", name)
    paths = re.findall(r"`((?:lite_rtse_ext|csrc|tests|docs)/[\w./-]*)`", text)
    assert len(paths) >= 2
    assert [path for path in paths if not (ROOT / path).exists()] == []


RECIPES = {
    f"{page.relative_to(ROOT)} {number}": text
    for page in PAGES
    if page.exists()
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    if "mixing:" in text
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_read(name: str, tmp_path: Path) -> None:
    from lite_rtse_ext.data.mixing import MixingOptions
    from lite_rtse_ext.train.recipe import load_recipe  # here, as `make agents` has no torch

    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPES[name], encoding="utf-8")
    assert load_recipe(path).data.mixing != MixingOptions()


def test_every_option_of_mixing_is_documented() -> None:
    from lite_rtse_ext.data.mixing import MixingOptions

    page = (ROOT / "docs" / "augmentation.md").read_text(encoding="utf-8")
    left = {"seconds", "snr_db", "balance_speakers", "noises", "no_noise", "no_speech", "noise_weights"}
    for option in dataclasses.fields(MixingOptions):
        assert option.name in left or f"`{option.name}`" in page, option.name


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_README_LINES


def test_prose_is_measured() -> None:
    long = " ".join(["word"] * 41)
    assert faults(f"{long}.") == [f"41 words: {long}.", "the median sentence has 41 words"]
    assert faults("```\n" + long + "\n```\n\n| " + long + " |\n\n# " + long + "\n\nShort.") == []
    assert faults("- " + " ".join(["word"] * 15) + "\n- " + " ".join(["word"] * 15)) == [
        "the median sentence has 15 words"
    ]
