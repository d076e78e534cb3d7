"""Every network of the package is trained, enhances, is saved and loaded, and is fused, as any other."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from lite_rtse_ext import SpectrogramModel, fuse
from lite_rtse_ext.data.dataset import Example
from lite_rtse_ext.enhance import enhance_waveform, usual_segment
from lite_rtse_ext.evaluate.load import load_model as load_to_judge
from lite_rtse_ext.models import create_model, load_model, registry, save_model
from lite_rtse_ext.models.input_gain import InputGain
from lite_rtse_ext.train.module import Enhancer
from lite_rtse_ext.train.recipe import Recipe, load_recipe
from lite_rtse_ext.train.run import fit
from tests.data.prepare.corpus import make_corpus
from tests.train.runs import QUICK

NAMES = sorted(registry._BUILT_IN)
SMALL: dict[str, dict[str, Any]] = {
    "dccrn": {"channels": [4, 4, 6], "lstm_units": 6, "norm": "complex"},
    "gagnet": {"squeezed": True},
    "lite-rtse": {"channels": 8, "order": 3},
}


def small(name: str) -> SpectrogramModel:
    torch.manual_seed(0)
    return create_model(name, **SMALL.get(name, {})).eval()


def noise(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_a_step_lowers_the_loss(name: str) -> None:
    module = Enhancer(InputGain(small(name), 0.25), Recipe()).train()
    optimizer = torch.optim.SGD(module.parameters())
    batch = Example(noise(2, 4000), 0.5 * noise(2, 4000).roll(3, -1))
    before = module.losses(batch)[0].total
    before.backward()
    gradients = [parameter.grad for parameter in module.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    norm = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 / float(norm) ** 2  # the loss falls by about this
    optimizer.step()
    with torch.no_grad():
        after = module.losses(batch)[0].total
    assert 0.3e-3 < float(before.detach() - after) < 3e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_waveform_is_enhanced_whole_and_in_segments(name: str) -> None:
    model = small(name).double()
    waveform = noise(2, 5001).double()
    whole = enhance_waveform(model, waveform)
    assert whole.shape == waveform.shape
    assert not whole.equal(waveform)
    if usual_segment(model) is None:
        with pytest.raises(ValueError, match=f"{type(model).__name__} needs the whole recording, got 7"):
            enhance_waveform(model, waveform, segment_frames=7)
    else:
        pieces = enhance_waveform(model, waveform, segment_frames=7)
        assert (pieces - whole).norm() <= 1e-10 * whole.norm()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_compute_nearly_the_same(name: str, dtype: torch.dtype) -> None:
    model = small(name)
    want = enhance_waveform(model, noise(2, 1500))
    got = enhance_waveform(model.to(dtype), noise(2, 1500))
    assert (got - want).norm() <= 8 * torch.finfo(dtype).eps * want.norm()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_may_be_empty(name: str) -> None:
    model = small(name)
    empty = torch.zeros(0, model.signal.bins, 3, 2)
    assert model(empty).shape == empty.shape


@pytest.mark.parametrize("name", NAMES)
def test_a_file_knows_its_network(name: str, tmp_path: Path) -> None:
    """Files of other programs, which do not name their network, exist for some networks."""
    model = small(name)
    save_model(model, tmp_path / "named")
    torch.save(model.state_dict(), tmp_path / "nameless")
    has_public_files = "recognize" in vars(type(model))
    for file in ("named", *["nameless"] * has_public_files):
        loaded = load_model(tmp_path / file).eval()
        assert type(loaded) is type(model)
        assert loaded.config() == model.config()
        assert enhance_waveform(loaded, noise(3000)).equal(enhance_waveform(model, noise(3000)))


@pytest.mark.parametrize("name", NAMES)
def test_a_fused_network_computes_the_same(name: str) -> None:
    model = small(name)
    fused = copy.deepcopy(model)
    fuse(fused)
    want = enhance_waveform(model, noise(2, 5000))
    assert (enhance_waveform(fused, noise(2, 5000)) - want).norm() <= 1e-5 * want.norm()


@pytest.mark.filterwarnings("ignore")
def test_a_run_is_loaded(tmp_path: Path, thread_count: None) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    corpus = make_corpus(tmp_path / "corpus")
    arguments = "model.arguments={channels: [4, 4], lstm_units: 4, norm: complex, mask: C}"
    settings = [f"data.manifest={corpus}", "model=dccrn", arguments, "run.steps=2"]
    fit(load_recipe(QUICK, settings), tmp_path / "run", progress=False)
    loaded = load_to_judge(tmp_path / "run")
    from_file = load_model(tmp_path / "run" / "best.safetensors").eval()
    assert from_file.config()["mask"] == "C"
    torch.testing.assert_close(enhance_waveform(loaded, noise(3000)), enhance_waveform(from_file, noise(3000)))
