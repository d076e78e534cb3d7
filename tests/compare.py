"""How two tensors are compared: relative L2 error, cosine and signed bias, each in float64.

The relative L2 error is one number for the whole tensor. Two faults hide in it: a few outliers in a large tensor, which
the cosine shows, and a systematic scale error (a term missed at the border, a sum cut short) among small random errors,
which the signed bias shows: random errors of relative size r leave a bias of about r / sqrt(n), so it is held to a
tighter bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def bias_share(numel: int) -> float:
    """The share of an error bound that a bias may use: a tenth, or 4 / sqrt(n) where n elements are too few for that.

    4 / sqrt(n) is four standard deviations of the mean of n random errors.
    """
    return max(0.1, min(1.0, 4.0 / math.sqrt(max(numel, 1))))


@dataclass(frozen=True)
class Agreement:
    """How far ``actual`` is from ``expected``; see :func:`agreement`."""

    relative_l2: float
    cosine: float
    signed_bias: float
    numel: int

    def within(self, tolerance: float) -> bool:
        """True if all three measures are what a relative error of ``tolerance`` without a trend would give.

        1 - cosine is r²/2 for a relative error of r, down to the rounding of the cosine itself.
        """
        return (
            self.relative_l2 <= tolerance
            and 1.0 - self.cosine <= max(tolerance**2, 1e-12)
            and abs(self.signed_bias) <= bias_share(self.numel) * tolerance
        )


def as_real_double(tensor: Tensor) -> Tensor:
    """The tensor's values as a flat float64 vector (complex ones as real, imaginary pairs)."""
    tensor = tensor.detach()
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).double().flatten()


def agreement(actual: Tensor, expected: Tensor) -> Agreement:
    """Relative L2 error ‖a − e‖/‖e‖, cosine a·e/(‖a‖‖e‖) and signed bias Σ(a − e)·sign(e)/Σ|e| of two tensors.

    An expected tensor of zeros (or none at all) agrees with zeros only: the error is then 0 or infinity.
    """
    a, e = as_real_double(actual), as_real_double(expected)
    scale = float(e.abs().max()) if e.numel() else 0.0
    if scale == 0.0:
        wrong = math.inf if bool((a != 0).any()) else 0.0  # NaN != 0 is true as well
        return Agreement(wrong, 1.0, wrong, e.numel())
    a, e = a / scale, e / scale  # so that squares of huge or tiny values neither overflow nor vanish
    cosine = float(a @ e / (a.norm() * e.norm()))
    bias = float(((a - e) * e.sign()).sum() / e.abs().sum())
    return Agreement(float((a - e).norm() / e.norm()), cosine, bias, e.numel())


def assert_agrees(actual: Tensor, expected: Tensor, tolerance: float, name: str = "result") -> None:
    """Fails unless the shapes are the same and all three measures are within ``tolerance``."""
    assert actual.shape == expected.shape, f"{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    found = agreement(actual, expected)
    assert found.within(tolerance), f"{name} {tuple(actual.shape)} {actual.dtype}: {found}, tolerance {tolerance:g}"


def assert_all_agree(
    actual: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float, names: Sequence[str]
) -> None:
    """:func:`assert_agrees` for several tensors; ``names`` says which one failed."""
    assert len(actual) == len(expected) == len(names)
    for a, e, name in zip(actual, expected, names, strict=True):
        assert_agrees(a, e, tolerance, name)


def assert_no_worse(actual: Tensor, eager: Tensor, exact: Tensor, slack: float, name: str = "result") -> None:
    """Fails unless ``actual`` is at most ``slack`` times as far from ``exact`` as ``eager`` is, in error and in bias.

    For half types, where the tolerance is whatever plain PyTorch reaches in that type. Of fewer than 16 elements eager
    may have some exact by luck; there an error of the type's unit roundoff, which no rounding exceeds, is enough.
    """
    assert actual.dtype == eager.dtype, f"{name}: {actual.dtype}, eager gives {eager.dtype}"
    assert actual.shape == exact.shape, f"{name}: shape {tuple(actual.shape)}, expected {tuple(exact.shape)}"
    ours, theirs = agreement(actual, exact), agreement(eager, exact)
    roundoff = torch.finfo(actual.dtype).eps / 2 if theirs.numel < 16 else 0.0
    allowed = max(slack * theirs.relative_l2, roundoff)
    allowed_bias = max(slack * abs(theirs.signed_bias), bias_share(theirs.numel) * allowed)
    assert ours.relative_l2 <= allowed, f"{name}: {ours}, eager {theirs}"
    assert abs(ours.signed_bias) <= allowed_bias, f"{name}: {ours}, eager {theirs}"


def assert_same(actual: Tensor, expected: Tensor, name: str = "result") -> None:
    """Fails unless the two tensors are the same bit for bit; a NaN equals a NaN."""
    assert actual.shape == expected.shape, f"{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True, msg=lambda text: f"{name}: {text}")


def assert_all_same(actual: Sequence[Tensor], expected: Sequence[Tensor], names: Sequence[str]) -> None:
    """:func:`assert_same` for several tensors; ``names`` says which one failed."""
    assert len(actual) == len(expected) == len(names)
    for a, e, name in zip(actual, expected, names, strict=True):
        assert_same(a, e, name)
