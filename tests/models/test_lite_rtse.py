"""LiteRTSE on the fused operators: the reference network's values, and all that is done to a model in its life."""

from __future__ import annotations

import copy
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lite_rtse_ext import LiteRTSE, fuse, reference, unfuse
from lite_rtse_ext.audio.high_pass import remove_offset
from lite_rtse_ext.audio.spectrogram import istft, stft
from lite_rtse_ext.enhance import SEGMENT_FRAMES, enhance_waveform
from lite_rtse_ext.models.onnx import export_onnx
from lite_rtse_ext.utils.arguments import Real

from ..compare import assert_agrees, assert_all_agree, assert_same
from ..forks import side_by_side
from ..fusion.foreign import PublicLiteRTSE

SMALL = {"bins": 9, "channels": 8, "order": 3}


def random(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def small(seed: int = 0, **config: int) -> LiteRTSE:
    torch.manual_seed(seed)
    return LiteRTSE(**{**SMALL, **config}).double()


def test_same_seed_gives_the_reference_network() -> None:
    torch.manual_seed(0)
    ours = LiteRTSE()
    torch.manual_seed(0)
    plain = reference.LiteRTSE()
    assert list(ours.state_dict()) == list(plain.state_dict())
    for key, value in plain.state_dict().items():
        assert_same(ours.state_dict()[key], value, key)


@pytest.mark.parametrize("depthwise", [True, False])
def test_value_and_gradients_are_the_references(depthwise: bool) -> None:
    ours = small(depthwise=depthwise)
    plain = reference.LiteRTSE(**SMALL, depthwise=depthwise).double()
    plain.load_state_dict(ours.state_dict())
    x, weight = random(2, 9, 8, 2), random(2, 9, 8, 2, seed=1)
    results = []
    for model in (ours, plain):
        leaf = x.clone().requires_grad_()
        y = model(leaf)
        results.append([y, *torch.autograd.grad((y * weight).sum(), [leaf, *model.parameters()])])
    assert_all_agree(results[0], results[1], 1e-11, ["spectrogram", "gradient", *dict(ours.named_parameters())])


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize(("batch", "frames"), [(1, 31), (1, 45), (2, 61), (7, 10), (5, 15), (40, 1), (3, 30)])
def test_pieces_are_the_whole(batch: int, frames: int, is_complex: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients more than so many frames go through in pieces: of utterances, and of time."""
    monkeypatch.setattr("lite_rtse_ext.models.lite_rtse.PIECE_FRAMES", 30)
    model, sizes, advance = small(), [], LiteRTSE.advance

    def noted(self: LiteRTSE, x: Tensor, before: int = 0, states: reference.States | None = None) -> object:
        sizes.append(x.shape[0] * (x.shape[2] - before))
        return advance(self, x, before, states)

    monkeypatch.setattr(LiteRTSE, "advance", noted)
    x = random(batch, 9, frames, 2)
    x = torch.view_as_complex(x) if is_complex else x
    whole = model(x)
    assert sizes == [batch * frames], "with gradients"
    sizes.clear()
    with torch.no_grad():
        pieces = model(x)
    assert len(sizes) > 1
    assert max(sizes) <= 30
    assert sum(sizes) == batch * frames
    assert (pieces.dtype, pieces.stride()) == (whole.dtype, whole.stride())
    assert_agrees(pieces, whole.detach(), 1e-11)
    model.requires_grad_(False)
    assert_agrees(model(x), pieces, 1e-11)


def test_full_size_in_float32_agrees_with_the_public_structure() -> None:
    torch.manual_seed(0)
    theirs = PublicLiteRTSE()
    ours = LiteRTSE()
    ours.load_state_dict(theirs.state_dict())
    x = random(1, 257, 12, 2, dtype=torch.float32)
    with torch.no_grad():
        assert_agrees(ours(x), theirs.double()(x.double()), 1e-5)


def test_complex_and_real_layouts_agree() -> None:
    model, x = small(), random(2, 9, 5, 2)
    assert_same(torch.view_as_real(model(torch.view_as_complex(x))), model(x))


def test_no_frame_hears_the_future() -> None:
    model, x, split = small(), random(2, 9, 12, 2), 7
    changed = x.clone()
    changed[:, :, split:] = random(2, 9, 12 - split, 2, seed=1)
    y, z = model(x), model(changed)
    assert_same(y[:, :, :split], z[:, :, :split])
    assert not torch.isclose(y[:, :, split:], z[:, :, split:]).any()


def test_silence_trains() -> None:
    model, x = small(), random(2, 9, 6, 2)
    x[0], x[1, :, 3:] = 0, 0
    x.requires_grad_()
    model(x).square().sum().backward()
    assert bool(x.grad.isfinite().all())
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters())


def test_nan_stays_in_its_utterance() -> None:
    model, x = small(), random(3, 9, 6, 2)
    expected = model(x)
    x[1, 4, 2] = float("nan")
    y = model(x)
    assert_same(y[[0, 2]], expected[[0, 2]])
    assert_same(y[1, :, :2], expected[1, :, :2])
    assert bool(y[1, :, 3:].isnan().all())


def test_copies_and_pickles_stand_on_their_own() -> None:
    model, x = small(), random(1, 9, 4, 2)
    expected = model(x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert_same(twin(x), expected)
        twin.fc1.weight.data.zero_()
    assert_same(model(x), expected)


@pytest.mark.parametrize("whole", [False, True])
def test_compiles(whole: bool) -> None:
    """As it comes, with a graph break at each LSTM, which is torch.compile's rule; and whole where it allows them."""
    model, x = small(), random(2, 9, 5, 2)
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=whole):
        compiled = torch.compile(model, fullgraph=whole, backend="aot_eager")
        results = []
        for network in (model, compiled):
            y = network(x)
            results.append([y, *torch.autograd.grad((y - x).square().sum(), list(model.parameters()))])
    assert_all_agree(results[1], results[0], 1e-11, ["spectrogram", *dict(model.named_parameters())])


@pytest.mark.filterwarnings("ignore:The tensor attributes self.lstm")
def test_exports() -> None:
    model, x = small(), random(2, 9, 5, 2)
    exported = torch.export.export(model, (x,)).module()
    assert_agrees(exported(x), model(x), 1e-11)


def test_autocast_trains_in_bfloat16() -> None:
    """A few percent from float64: bfloat16 has three decimal digits, and the signal passes two LSTMs."""
    model = small()
    x, weight = random(2, 9, 5, 2), random(2, 9, 5, 2, seed=1)
    exact = model(x).detach()
    model.float()
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x.float())
    assert float((y.detach() - exact).norm() / exact.norm()) < 0.05
    (y * weight).sum().backward()
    assert all(p.grad.dtype == torch.float32 and bool(p.grad.isfinite().all()) for p in model.parameters())


def train_in_parallel(rank: int, processes: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=processes)
    model = DistributedDataParallel(small(seed=rank))  # broadcasts the parameters of rank 0
    x, target = random(processes, 9, 4, 2), random(processes, 9, 4, 2, seed=1)
    (model(x[rank : rank + 1]) - target[rank : rank + 1]).square().mean().backward()
    if rank == 0:
        torch.save([parameter.grad for parameter in model.parameters()], f"{folder}/gradients.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def test_parallel_training_has_the_gradients_of_the_whole_batch(tmp_path: Path) -> None:
    processes = 2
    code = f"import os; from {__name__} import train_in_parallel as train"
    code += f"; train(int(os.environ['RANK']), {processes}, {str(tmp_path)!r})"
    ranks = [os.environ | {"RANK": str(rank)} for rank in range(processes)]
    for done in side_by_side("-c", code, envs=ranks):
        assert done.returncode == 0, done.stderr
    model = small(seed=0)
    x, target = random(processes, 9, 4, 2), random(processes, 9, 4, 2, seed=1)
    (model(x) - target).square().mean().backward()
    gradients = torch.load(tmp_path / "gradients.pt", weights_only=True)
    names, expected = zip(*((name, p.grad) for name, p in model.named_parameters()), strict=True)
    assert_all_agree(gradients, expected, 1e-12, names)


@pytest.fixture(scope="module")
def network() -> LiteRTSE:
    torch.manual_seed(0)
    return LiteRTSE()


@pytest.mark.parametrize("shape", [(1,), (255,), (256,), (4000,), (2, 3, 700), (1, 1000), (0,), (0, 300)])
def test_enhance_keeps_the_shape(network: LiteRTSE, shape: tuple[int, ...]) -> None:
    waveform = random(*shape, dtype=torch.float32)
    enhanced = network.enhance(waveform)
    assert (enhanced.shape, enhanced.dtype, enhanced.requires_grad) == (waveform.shape, torch.float32, False)
    assert bool(enhanced.isfinite().all())


def test_enhance_is_the_network_between_the_transforms(network: LiteRTSE) -> None:
    waveform = 0.1 * random(2, 2000, dtype=torch.float32)
    with torch.no_grad():
        expected = istft(network(stft(waveform)), 2000)
        behind_high_pass = istft(network(stft(remove_offset(waveform))), 2000)
    assert_agrees(network.enhance(waveform, high_pass=False), expected, 1e-6)
    assert_agrees(network.enhance(waveform), behind_high_pass, 1e-6)


@pytest.mark.parametrize("rate", [16_000, 16_000.0, np.int64(16_000), np.float64(16_000)])
def test_enhance_takes_the_rate_as_any_number(network: LiteRTSE, rate: Real) -> None:
    waveform = random(1000, dtype=torch.float32)
    assert_same(network.enhance(waveform, rate), network.enhance(waveform))


def test_enhance_takes_each_utterance_alone(network: LiteRTSE) -> None:
    waveforms = random(2, 2, 1500, dtype=torch.float32)
    assert_agrees(network.enhance(waveforms)[1, 0], network.enhance(waveforms[1, 0]), 1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_enhance_converts_dtypes(network: LiteRTSE, dtype: torch.dtype) -> None:
    waveform = 0.1 * random(1500, dtype=dtype)
    enhanced = network.enhance(waveform)
    assert enhanced.dtype == dtype
    assert_agrees(enhanced, network.enhance(waveform.float()), 4 * torch.finfo(dtype).eps + 1e-6)


def test_enhance_with_a_double_network(network: LiteRTSE) -> None:
    waveform = 0.1 * random(1500)
    exact = copy.deepcopy(network).double().enhance(waveform)
    assert exact.dtype == torch.float64
    assert_agrees(network.enhance(waveform), exact, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_enhance_with_a_half_network(network: LiteRTSE, dtype: torch.dtype) -> None:
    waveform = 0.1 * random(1500, dtype=torch.float32)
    exact, half = network.enhance(waveform), copy.deepcopy(network).to(dtype).enhance(waveform)
    assert half.dtype == torch.float32
    assert float((half - exact).norm() / exact.norm()) < 8 * torch.finfo(dtype).eps


def test_enhance_leaves_the_mode_alone_and_does_not_depend_on_it(network: LiteRTSE) -> None:
    waveform = random(1000, dtype=torch.float32)
    results = []
    for training in (True, False):
        network.train(training)
        results.append(network.enhance(waveform))
        assert network.training is training
    assert_same(*results)


def test_enhance_keeps_silence(network: LiteRTSE) -> None:
    assert_same(network.enhance(torch.zeros(1000)), torch.zeros(1000))


def test_enhance_refuses_what_it_cannot_do(network: LiteRTSE) -> None:
    with pytest.raises(ValueError, match="sample_rate: expected 16000 Hz, got 44100"):
        network.enhance(torch.zeros(1000), sample_rate=44_100)
    for wrong in ("16000", True, None):
        with pytest.raises(TypeError, match="sample_rate: expected a whole number of Hz"):
            network.enhance(torch.zeros(1000), wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="high_pass: expected True or False, got 'no'"):
        network.enhance(torch.zeros(1000), high_pass="no")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"floating dtype, full scale 1, got torch\.int16"):
        network.enhance(torch.zeros(1000, dtype=torch.int16))
    with pytest.raises(ValueError, match="no dimension"):
        network.enhance(torch.tensor(1.0))
    with pytest.raises(TypeError, match=r"waveform: expected a torch\.Tensor, got ndarray"):
        network.enhance(np.zeros(1000, np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(256, 1), (24_000, 2), (300, 64), (3, 4000, 2), (1, 256, 8)])
def test_samples_before_channels_are_refused(network: LiteRTSE, shape: tuple[int, ...]) -> None:
    words = rf"\(\.\.\., samples\), got \({', '.join(map(str, shape))}\): {shape[-2]} utterances of {shape[-1]} s"
    with pytest.raises(ValueError, match=words):
        network.enhance(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(255, 1), (40, 65), (300, 0), (2, 1), (64, 1, 200)])
def test_short_utterances_are_still_utterances(network: LiteRTSE, shape: tuple[int, ...]) -> None:
    assert network.enhance(torch.zeros(shape)).shape == shape


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_sample_that_is_not_finite_is_named(network: LiteRTSE, value: float, dtype: torch.dtype) -> None:
    waveform = torch.zeros(2, 3, 700, dtype=dtype)
    waveform[1, 2, 17:20] = value
    with pytest.raises(ValueError, match=rf"finite numbers, but sample 17 of utterance 1, 2 is {value}$"):
        network.enhance(waveform)
    with pytest.raises(ValueError, match=rf"finite numbers, but sample 17 is {value}$"):
        network.enhance(waveform[1, 2])


def test_a_result_that_is_not_finite_is_an_error(network: LiteRTSE) -> None:
    broken = copy.deepcopy(network)
    broken.to_mag.bias.data[3] = float("nan")
    with pytest.raises(FloatingPointError, match="the network's result is not finite"):
        broken.enhance(torch.ones(700))


@pytest.mark.filterwarnings("ignore:")
def test_quantized_layers() -> None:
    """PyTorch quantizes its own classes only, so that the network holds PyTorch's LSTMs."""
    quantize, waveform = torch.ao.quantization.quantize_dynamic, 0.1 * random(3000, dtype=torch.float32)
    torch.manual_seed(0)
    ours, plain = LiteRTSE(), reference.LiteRTSE()
    plain.load_state_dict(ours.state_dict())
    expected = ours.enhance(waveform)
    small = quantize(ours, {nn.LSTM, nn.Linear})
    smallest = quantize(plain, {nn.LSTM, nn.Linear})
    fuse(plain)
    unfuse(plain)
    again = quantize(plain, {nn.LSTM, nn.Linear})
    assert [type(net.lstm1).__module__.startswith("torch.ao") for net in (small, smallest, again)] == [1, 1, 1]
    segments = [enhance_waveform(net, waveform, segment_frames=SEGMENT_FRAMES) for net in (small, again)]
    for enhanced in (small.enhance(waveform), *segments):
        assert float((enhanced - expected).norm() / expected.norm()) < 0.2
    with pytest.raises(ValueError, match=r"model: expected parameters in float32, got others for lstm1\._"):
        export_onnx(small, "nowhere.onnx")


def test_no_frames_give_no_frames() -> None:
    assert small()(random(2, 9, 0, 2)).shape == (2, 9, 0, 2)
