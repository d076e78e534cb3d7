"""What is particular to the reconstruction: silence, no direction, extreme magnitudes, the two spectrogram layouts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.ops import mask_residual

from ..compare import agreement, assert_agrees, assert_all_agree, assert_all_same, assert_same
from .operators import MASK_RESIDUAL, Recorder, Shape, cotangent, double, gradients

HEADS = ("mask_logit", "res_mag", "res_real", "res_imag")


def inputs(device: torch.device, *, dtype: torch.dtype = torch.float32, is_complex: bool = False) -> dict[str, Tensor]:
    return MASK_RESIDUAL.inputs(Shape(batch=2, frames=21, bins=33, is_complex=is_complex), dtype=dtype, device=device)


def check(tensors: dict[str, Tensor], *, only: tuple[str, ...] | None = None) -> None:
    """The result and the gradients (those of ``only``, or all) agree with the eager graph in float64."""
    y, found = gradients(MASK_RESIDUAL, tensors)
    exact, expected = gradients(MASK_RESIDUAL.reference, double(tensors), cotangent(y))
    assert_agrees(y, exact, 2e-6)
    for name in only or tuple(found):
        assert_agrees(found[name], expected[name], 1e-5, f"gradient of {name}")


@pytest.mark.parametrize("is_complex", [False, True])
def test_silence_has_finite_gradients(is_complex: bool, device: torch.device) -> None:
    """X = 0: the eager graph's gradient is NaN there. The gain's is the limit: that of a very quiet X."""
    tensors = inputs(device, is_complex=is_complex)
    silent = dict(tensors) | {"spectrogram": torch.zeros_like(tensors["spectrogram"])}
    y, found = gradients(MASK_RESIDUAL, silent)
    assert not y.any()
    _, eager = gradients(MASK_RESIDUAL.reference, double(silent), cotangent(y))
    assert eager["spectrogram"].isnan().any(), "the eager graph has no singularity any more: this test proves nothing"
    quiet = double(dict(tensors) | {"spectrogram": tensors["spectrogram"] * 1e-20})
    _, limit = gradients(MASK_RESIDUAL.reference, quiet, cotangent(y))
    assert_agrees(found["spectrogram"], limit["spectrogram"], 1e-5)
    for name in HEADS:
        assert not found[name].any(), f"gradient of {name}"


def test_silent_bins_among_others(device: torch.device) -> None:
    """Digital silence in a part of the spectrogram leaves the rest as it is."""
    tensors = inputs(device)
    y, expected = gradients(MASK_RESIDUAL, tensors)
    silent = dict(tensors) | {"spectrogram": tensors["spectrogram"].clone()}
    silent["spectrogram"][0, 5:9] = 0
    found_y, found = gradients(MASK_RESIDUAL, silent)
    assert all(torch.isfinite(gradient).all() for gradient in found.values())
    heard = torch.ones(33, dtype=torch.bool, device=device)
    heard[5:9] = False
    assert_same(found_y[0, heard], y[0, heard])
    assert_same(found["spectrogram"], expected["spectrogram"])  # linear in X: its gradient doesn't hold X
    for name in HEADS:
        assert_same(found[name][0, :, heard], expected[name][0, :, heard], name)
        assert not found[name][0, :, ~heard].any(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_no_direction(zero: float, dtype: torch.dtype, device: torch.device) -> None:
    """R = 0: the phase is left as it is, r = (1, 0), and the residual gets a gradient of zero."""
    tensors = inputs(device, dtype=dtype)
    nowhere = dict(tensors)
    for name in ("res_real", "res_imag"):
        nowhere[name] = tensors[name].clone()
        nowhere[name][1] = zero
    forward = dict(nowhere) | {"res_real": nowhere["res_real"].clone()}
    forward["res_real"][1] = 1.0
    y, found = gradients(MASK_RESIDUAL, nowhere)
    expected_y, expected = gradients(MASK_RESIDUAL, forward)
    assert_same(y, expected_y)
    for name in ("spectrogram", "mask_logit", "res_mag"):
        assert_same(found[name], expected[name], name)
    for name in ("res_real", "res_imag"):
        assert_same(found[name][0], expected[name][0], name)
        assert not found[name][1].any(), name


@pytest.mark.parametrize("imag", [0.0, -0.0])
def test_opposite_direction(imag: float, device: torch.device) -> None:
    """R = (-1, ±0): half a turn, where atan2 jumps between π and -π and the gain does not."""
    tensors = inputs(device)
    tensors |= {
        "res_real": -torch.ones_like(tensors["res_real"]),
        "res_imag": torch.full_like(tensors["res_imag"], imag),
    }
    check(tensors)


@pytest.mark.parametrize("size", [1e-36, 1e-30, 1e-20, 1e-10, 1e10, 1e20, 1e30, 1e37])
def test_size_of_the_direction_does_not_matter(size: float, device: torch.device) -> None:
    """|R|² would vanish or overflow in float32 long before |R| does; the gradient goes with 1/|R|."""
    tensors = inputs(device)
    for name in ("res_real", "res_imag"):
        # Away from the axes, so that no part and no gradient leaves the range of float32.
        direction = tensors[name].sign() * (0.5 + tensors[name].abs().clamp(max=1))
        tensors[name] = (direction * size).float()
    small_gradient = size > 1e30  # of order 1/size: denormal, and only as exact as that
    check(tensors, only=("spectrogram", "mask_logit", "res_mag") if small_gradient else None)
    if small_gradient:
        _, found = gradients(MASK_RESIDUAL, tensors)
        assert all(torch.isfinite(found[name]).all() for name in ("res_real", "res_imag"))


def test_directions_of_mixed_size(device: torch.device) -> None:
    """One part huge, the other tiny: the direction is an axis to the last bit, and nothing overflows."""
    tensors = inputs(device)
    tensors["res_real"] = tensors["res_real"].sign() * 1e30
    tensors["res_imag"] = tensors["res_imag"].sign() * 1e-30
    check(tensors, only=("spectrogram", "mask_logit", "res_mag"))
    tensors["res_real"], tensors["res_imag"] = tensors["res_imag"], tensors["res_real"]
    check(tensors, only=("spectrogram", "mask_logit", "res_mag"))


def test_denormal_direction(device: torch.device) -> None:
    """R of the smallest numbers float32 has, with the few digits they have: the value is right, no gradient is NaN."""
    tensors = inputs(device)
    for name in ("res_real", "res_imag"):
        tensors[name] = (tensors[name].sign() * (0.5 + tensors[name].abs()) * 1e-41).float()
        assert (tensors[name] != 0).all()
        assert (tensors[name].abs() < torch.finfo(torch.float32).tiny).all()
    check(tensors, only=("spectrogram", "mask_logit", "res_mag"))
    _, found = gradients(MASK_RESIDUAL, tensors)
    for name in ("res_real", "res_imag"):
        assert not found[name].isnan().any(), f"gradient of {name}"


@pytest.mark.parametrize("size", [1e-42, 1e-38, 1e-30, 1e-10, 1e10, 1e30, 1e37])
def test_size_of_the_spectrogram_does_not_matter(size: float, device: torch.device) -> None:
    """S is linear in X, so that no |X|² has to exist."""
    tensors = inputs(device)
    tensors["spectrogram"] = tensors["spectrogram"] * size
    y, found = gradients(MASK_RESIDUAL, tensors)
    exact, expected = gradients(MASK_RESIDUAL.reference, double(tensors), cotangent(y))
    if size >= 1e-38:
        assert_agrees(y, exact, 2e-6)
    else:  # one unit of the smallest float32 for each rounding
        assert float((y.double() - exact).abs().max()) <= 4 * 2.0**-149
    assert_agrees(found["spectrogram"], expected["spectrogram"], 1e-5)
    for name in HEADS:
        assert torch.isfinite(found[name]).all(), name
        if size >= 1e-30:
            assert_agrees(found[name], expected[name], 1e-5, name)


@pytest.mark.parametrize("logit", [-math.inf, -1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4, math.inf])
def test_saturated_masks(logit: float, device: torch.device) -> None:
    """The sigmoid doesn't overflow and keeps both its ends: M at -20 and 1 - M at 20 are exp(-20), not 0."""
    tensors = inputs(device)
    tensors["mask_logit"] = torch.full_like(tensors["mask_logit"], logit)
    if logit < 0:  # or else M is lost beside R_mag
        tensors["res_mag"] = torch.zeros_like(tensors["res_mag"])
    y, found = gradients(MASK_RESIDUAL, tensors)
    exact, expected = gradients(MASK_RESIDUAL.reference, double(tensors), cotangent(y))
    if logit <= -100.0:  # a result below the normal numbers may be cut off
        largest = float(tensors["spectrogram"].abs().max()) * torch.finfo(torch.float32).tiny
        assert float((y.double() - exact).abs().max()) <= 2 * largest
    else:
        assert_agrees(y, exact, 2e-6)
    assert all(torch.isfinite(gradient).all() for gradient in found.values())
    for name in found if abs(logit) <= 20.0 else ():
        assert_agrees(found[name], expected[name], 1e-5, f"gradient of {name}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_layouts_agree(dtype: torch.dtype, device: torch.device) -> None:
    """Complex (B, F, T) and real (B, F, T, 2) are one function: the same bits, in the layout that was given."""
    as_complex = inputs(device, dtype=dtype, is_complex=True)
    as_pairs = dict(as_complex) | {"spectrogram": torch.view_as_real(as_complex["spectrogram"])}
    y, found = gradients(MASK_RESIDUAL, as_complex)
    pairs, pairs_found = gradients(MASK_RESIDUAL, as_pairs, torch.view_as_real(cotangent(y)))
    assert y.dtype == dtype.to_complex()
    assert pairs.dtype == dtype
    assert y.shape == as_complex["spectrogram"].shape
    assert pairs.shape == as_pairs["spectrogram"].shape
    assert_same(torch.view_as_real(y), pairs)
    assert_same(torch.view_as_real(found["spectrogram"]), pairs_found["spectrogram"])
    assert_all_same([found[n] for n in HEADS], [pairs_found[n] for n in HEADS], HEADS)


def frames_first(spectrogram: Tensor) -> Tensor:
    """The memory order of ``torch.stft``: (B, F, T) as a view of (B, T, F) memory."""
    return spectrogram.transpose(1, 2).contiguous().transpose(1, 2)


@pytest.mark.parametrize("is_complex", [False, True])
def test_memory_order_of_stft(is_complex: bool, device: torch.device) -> None:
    tensors = inputs(device, is_complex=is_complex)
    other = dict(tensors) | {"spectrogram": frames_first(tensors["spectrogram"])}
    y, expected = gradients(MASK_RESIDUAL, tensors)
    for dy in (cotangent(y), frames_first(cotangent(y))):
        found_y, found = gradients(MASK_RESIDUAL, other, dy)
        assert_same(found_y, y)
        assert_all_agree([*found.values()], [*expected.values()], 1e-6, [*found])
    with Recorder() as recorder:
        gradients(MASK_RESIDUAL, other, frames_first(cotangent(y)))
    for overload, arguments in recorder.calls:
        torch.library.opcheck(overload, arguments)


def test_takes_what_stft_gives(device: torch.device) -> None:
    """From audio to audio: the result of torch.stft goes in and what comes out goes into torch.istft."""
    torch.manual_seed(0)
    window = torch.hann_window(64, device=device)
    audio = torch.randn(2, 640, device=device)
    x = torch.stft(audio, 64, 32, window=window, return_complex=True)
    heads = {name: torch.randn(2, x.shape[2], x.shape[1], device=device) for name in HEADS}
    y = MASK_RESIDUAL({"spectrogram": x, **heads})
    assert_agrees(y, MASK_RESIDUAL.reference(double({"spectrogram": x, **heads})), 2e-6)
    assert torch.istft(y, 64, 32, window=window).shape == audio.shape


def test_a_mask_of_one_and_no_residual_is_the_identity(device: torch.device) -> None:
    tensors = inputs(device)
    heads = {"mask_logit": 1e4, "res_mag": 3.0, "res_real": 2.0, "res_imag": 0.0}
    tensors |= {name: torch.full_like(tensors[name], value) for name, value in heads.items()}
    assert_same(MASK_RESIDUAL(tensors), tensors["spectrogram"])


def test_is_as_exact_as_the_eager_graph(device: torch.device) -> None:
    """In float32, where both only round: the result errs no more, since it needs no angle; gradients up to twice."""
    tensors = inputs(device)
    y, found = gradients(MASK_RESIDUAL, tensors)
    eager, eager_found = gradients(MASK_RESIDUAL.reference, tensors)
    exact, expected = gradients(MASK_RESIDUAL.reference, double(tensors), cotangent(y))
    assert agreement(y, exact).relative_l2 <= agreement(eager, exact).relative_l2
    for name in found:
        ours, theirs = agreement(found[name], expected[name]), agreement(eager_found[name], expected[name])
        assert ours.relative_l2 <= 2 * theirs.relative_l2, f"gradient of {name}: {ours}, eager {theirs}"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_gradients_are_finite_for_the_smallest_residual(dtype: torch.dtype, level: float, device: torch.device) -> None:
    """1/|R| overflows for a subnormal R; times a zero it must stay zero, as on digital silence."""
    tiny = torch.finfo(dtype).tiny * 2**-4
    x = torch.full((1, 1, 1, 2), level, dtype=dtype, device=device, requires_grad=True)
    heads = [torch.full((1, 1, 1), v, dtype=dtype, device=device, requires_grad=True) for v in (0.3, 0.7, tiny, 0.0)]
    y = mask_residual(x, *heads)
    y.backward(torch.ones_like(y))  # along x: nothing turns the phase
    for tensor in (x, *heads):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_infinite_residual_has_the_angle_of_its_parts(device: torch.device) -> None:
    inf = torch.tensor(torch.inf, device=device)
    x = torch.tensor([[[[0.6, -0.8]]]], device=device)
    for real, imag in ((inf, inf), (-inf, torch.ones_like(inf)), (torch.zeros_like(inf), inf)):
        heads = [torch.full((1, 1, 1), v, device=device) for v in (0.3, 0.7)] + [
            v.reshape(1, 1, 1) for v in (real, imag)
        ]
        torch.testing.assert_close(mask_residual(x, *heads), reference.mask_residual(x, *heads), rtol=1e-5, atol=1e-6)
