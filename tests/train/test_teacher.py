"""A teacher's result is a target if it is better than the noisy signal. If not, the clean signal is the target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("lightning")

from lite_rtse_ext import SpectrogramModel
from lite_rtse_ext.data.dataset import Example
from lite_rtse_ext.models import create_model, save_model
from lite_rtse_ext.models.checkpoint import read_state_dict
from lite_rtse_ext.models.input_gain import InputGain
from lite_rtse_ext.train.module import Enhancer
from lite_rtse_ext.train.recipe import Recipe, RecipeError, TeacherRecipe, load_recipe
from lite_rtse_ext.train.run import fit
from lite_rtse_ext.train.teacher import Teacher, load_teacher
from tests.data.prepare.corpus import make_corpus
from tests.models.networks import GruMask
from tests.train.runs import QUICK, newest, train

pytestmark = pytest.mark.filterwarnings("ignore")


class LowPass(SpectrogramModel):
    """Removes the upper half of the bins, and adds a constant that is too soft to matter at the stated level."""

    def forward(self, spectrogram: Tensor) -> Tensor:
        out = spectrogram.clone()
        out[:, 128:] = 0
        return out + 1e-6


def tones(batch: int = 2, samples: int = 4096) -> tuple[Tensor, Tensor]:
    """A low and a high tone, ``(batch, samples)`` each."""
    t = torch.arange(samples) / 16_000
    low, high = (0.1 * (2 * torch.pi * hz * t).sin().expand(batch, -1) for hz in (500, 6000))
    return low, high


def relative(got: Tensor, want: Tensor) -> float:
    return float((got - want).norm() / want.norm())


def test_a_better_result_is_the_target_and_a_worse_one_is_not() -> None:
    low, high = tones()
    noisy, clean = low + high, torch.stack([low[0], high[1]])
    targets = Teacher(LowPass(), -26).targets(Example(noisy, clean))
    assert relative(targets[0], low[0]) < 0.01
    assert not targets[0].equal(clean[0])
    assert targets[1].equal(clean[1])


def test_clean_and_silent_examples_keep_their_clean_signal() -> None:
    low, _ = tones(1)
    silent = torch.zeros_like(low)
    for noisy, clean in ((low, low), (silent, silent), (low, silent)):
        target = Teacher(LowPass(), -26).targets(Example(noisy, clean))
        assert target.equal(clean)


@pytest.mark.parametrize("gain", [1e-3, 1.0, 30.0])
def test_the_level_of_an_example_does_not_change_what_the_teacher_hears(gain: float) -> None:
    torch.manual_seed(0)
    teacher = Teacher(GruMask(), -26)
    noise = torch.randn(1, 2000, generator=torch.Generator().manual_seed(1))
    batch = Example(noise, 0.5 * noise)
    want = teacher.targets(batch)
    assert relative(teacher.targets(Example(gain * batch.noisy, gain * batch.clean)), gain * want) < 1e-5


def test_the_loss_has_the_stated_shares_and_validation_has_none() -> None:
    low, high = tones()
    batch = Example(low + high, 0.9 * low)
    torch.manual_seed(0)
    net, teacher = InputGain(GruMask(), 1.0), Teacher(LowPass(), -26)

    def total(weight: float, taught: bool, training: bool = True) -> float:
        module = Enhancer(net, Recipe(teacher=TeacherRecipe(weight=weight)), teacher if taught else None)
        with torch.no_grad():
            return float(module.train(training).losses(batch)[0].total)

    assert teacher.targets(batch).sub(batch.clean).abs().max() > 0.005  # the comparison can tell the two
    clean, all_taught, half = total(1, False), total(1, True), total(0.5, True)
    assert abs(all_taught - clean) > 1e-4
    assert half == pytest.approx((clean + all_taught) / 2, rel=1e-5)
    assert total(0, True) == pytest.approx(clean, rel=1e-6)
    assert total(1, True, training=False) == total(1, False, training=False)


def test_gradients_do_not_reach_the_teacher() -> None:
    low, high = tones()
    teacher = Teacher(GruMask(), -26)
    module = Enhancer(InputGain(GruMask(), 1.0), Recipe(teacher=TeacherRecipe(weight=0.5)), teacher).train()
    module.losses(Example(low + high, low))[0].total.backward()
    assert all(parameter.grad is None for parameter in teacher.network.parameters())
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert not [name for name in module.state_dict() if "teacher" in name]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def settings(corpus: Path, *others: str) -> list[str]:
    return [f"data.manifest={json.dumps(str(corpus))}", "run.steps=4", *others]


def test_a_run_learns_from_its_teacher_and_resumes_to_the_same_bits(
    corpus: Path, tmp_path: Path, thread_count: None
) -> None:
    torch.manual_seed(3)
    save_model(create_model("gtcrn").eval(), tmp_path / "teacher.safetensors")
    with_teacher = settings(corpus, f"teacher.checkpoint={json.dumps(str(tmp_path / 'teacher.safetensors'))}")
    fit(load_recipe(QUICK, [*with_teacher, "run.steps=2"]), tmp_path / "part", progress=False)
    fit(load_recipe(QUICK, with_teacher), tmp_path / "part", resume=True, progress=False)
    fit(load_recipe(QUICK, with_teacher), tmp_path / "whole", progress=False)
    fit(load_recipe(QUICK, settings(corpus)), tmp_path / "without", progress=False)
    part, whole, without = (newest(tmp_path / name)["state_dict"] for name in ("part", "whole", "without"))
    assert all(part[name].equal(value) for name, value in whole.items())
    assert whole.keys() == without.keys()
    assert not all(without[name].equal(value) for name, value in whole.items())
    assert not [name for name in read_state_dict(tmp_path / "whole" / "best.safetensors") if "teacher" in name]


def test_another_teacher_is_refused_when_a_run_goes_on(corpus: Path, tmp_path: Path, thread_count: None) -> None:
    fit(load_recipe(QUICK, settings(corpus)), tmp_path, progress=False)
    with pytest.raises(RecipeError, match=r"teacher\.weight.*the steps so far had its targets"):
        fit(load_recipe(QUICK, settings(corpus, "teacher.weight=0.5")), tmp_path, resume=True, progress=False)


def test_a_teacher_may_have_moved_and_another_at_its_path_is_refused(
    corpus: Path, tmp_path: Path, thread_count: None
) -> None:
    file = tmp_path / "teacher.safetensors"
    chosen = settings(corpus, f"teacher.checkpoint={json.dumps(str(file))}", "run.steps=2")
    save_model(create_model("gtcrn"), file)
    fit(load_recipe(QUICK, chosen), tmp_path / "run", progress=False)
    file.rename(tmp_path / "moved.safetensors")
    save_model(create_model("gtcrn"), file)
    with pytest.raises(RecipeError, match=r"teacher\.safetensors: expected the teacher that the run began with"):
        fit(load_recipe(QUICK, [*chosen, "run.steps=4"]), tmp_path / "run", resume=True, progress=False)
    moved = f"teacher.checkpoint={json.dumps(str(tmp_path / 'moved.safetensors'))}"
    fit(load_recipe(QUICK, [*chosen, "run.steps=4", moved]), tmp_path / "run", resume=True, progress=False)
    assert newest(tmp_path / "run")["global_step"] == 4
    assert load_recipe(tmp_path / "run" / "recipe.yaml").teacher.checkpoint == str(tmp_path / "moved.safetensors")
    with pytest.raises(RecipeError, match=r"teacher\.checkpoint: expected '.*moved\.safetensors', got None"):
        fit(load_recipe(QUICK, settings(corpus, "run.steps=6")), tmp_path / "run", resume=True, progress=False)


@pytest.mark.parametrize("fused", [False, True])
def test_the_teacher_is_fused_if_the_run_is(fused: bool, tmp_path: Path) -> None:
    save_model(create_model("dtln"), tmp_path / "file")
    teacher = load_teacher(TeacherRecipe(str(tmp_path / "file")), fused)
    assert teacher is not None
    assert type(teacher.network.encoder).__name__ == ("FusedLinear" if fused else "Linear")


def test_no_name_is_no_teacher() -> None:
    assert load_teacher(TeacherRecipe("")) is None


def test_a_teacher_for_another_rate_is_refused(tmp_path: Path) -> None:
    save_model(create_model("dpcrn-cf", sample_rate=48_000), tmp_path / "file")
    with pytest.raises(
        RecipeError, match=r"teacher\.checkpoint: expected a network for 16000 Hz, .* got one for 48000"
    ):
        load_teacher(TeacherRecipe(str(tmp_path / "file")))


@pytest.mark.parametrize(
    ("value", "words"), [("missing.safetensors", "missing.safetensors"), ("3", "teacher.checkpoint")]
)
def test_the_command_names_a_wrong_teacher_in_one_line(corpus: Path, tmp_path: Path, value: str, words: str) -> None:
    done = train([QUICK, "--out", str(tmp_path / "run"), *settings(corpus, f"teacher.checkpoint={value}")])
    assert done.returncode
    assert words in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
