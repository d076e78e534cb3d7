"""The model of the whole network on a GPU: the sum of its operators, its LSTMs, and what PyTorch computes."""

from __future__ import annotations

import pytest
import torch

from benchmarks import cuda_floor, cuda_model, cuda_step
from benchmarks.cuda_floor import DEVICES, Model, Row

from ..cuda import trace

pytestmark = pytest.mark.skipif(bool(trace.missing()), reason=trace.missing())

H100 = next(device for device in DEVICES if device.name == "H100")
TYPES = (torch.float32, torch.bfloat16)


def of(seconds: float) -> Row:
    return Row("k", 1, 0, 0, 0, None, None, seconds, "memory")


def a_model(case: str, what: str, fused: float, eager: float) -> Model:
    return Model(case, what, "H100", 1, 4, [of(fused)], [of(eager)])


def models_of(cases: set[str]) -> list[Model]:
    return [a_model(case, what, 1, 10) for case in cases for what in cuda_step.PASSES]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("what", cuda_step.PASSES)
def test_the_network_is_the_sum_of_its_parts(what: str, dtype: torch.dtype) -> None:
    models = models_of({*cuda_model.CASES})
    peak = H100.half_peak if dtype == torch.bfloat16 else None
    for fused, of_parts in ((True, 6), (False, 2 * 10)):  # two of the parts are the LSTMs
        rest = cuda_floor.eager_rows(cuda_step.pytorch(fused, what, 1, 4, dtype), H100, peak)
        found = cuda_step.network_rows(models, H100, what, fused, dtype)
        assert cuda_floor.seconds(found) == pytest.approx(of_parts + cuda_floor.seconds(rest))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("what", "times"), [("forward", 1), ("backward", 2)])
def test_what_pytorch_computes_in_the_network(what: str, times: int, dtype: torch.dtype) -> None:
    """The fused network's linear layers are the eager network's, and its convolutions are the operators'."""
    fused, eager = (cuda_step.pytorch(is_fused, what, 1, 4, dtype) for is_fused in (True, False))
    assert not {operation.name for operation in fused} & cuda_step.OF_OPERATORS
    linear = 2 * 4 * times * 257 * 257 * (3 + 4)  # fc2 has three times the inputs of the other four
    assert sum(operation.flops for operation in fused) == linear
    products = [operation for operation in eager if "convolution" not in operation.name]
    assert sum(operation.flops for operation in products) == linear


def test_autocast_halves_the_bytes_of_the_eager_network() -> None:
    """All but the masks, the reconstruction and the casts is stored in bfloat16."""
    for what in cuda_step.PASSES:
        wide, half = (cuda_step.pytorch(False, what, 1, 250, dtype) for dtype in TYPES)
        moved = [sum(each.read_bytes + each.written_bytes for each in side) for side in (wide, half)]
        assert 0.5 < moved[1] / moved[0] < 0.55
        assert sum(each.flops for each in half) == sum(each.flops for each in wide)
        assert sum(each.name == "_to_copy" for each in wide) == 0 < sum(each.name == "_to_copy" for each in half)


def test_the_table_of_the_network() -> None:
    lines = cuda_step.table(models_of({"lstm 257"}), H100).splitlines()
    assert lines[0] == "a model, nothing measured: H100, 1 × 4 frames, float32 where no other type is named"
    assert lines[2].split()[-8:] == ["2", "0.00", "2000.00", "2", "0.00", "20000.00", "10.0", "10.0"]
    assert len(lines) == 3
    launched = Row("cuDNN", 1000, 0, 0, 0, None, None, 1000 * cuda_floor.LAUNCH_S, cuda_floor.LAUNCHES)
    some = [Model("lstm 257", what, "H100", 1, 4, [of(1e-3)], [launched]) for what in cuda_step.PASSES]
    assert cuda_step.table(some, H100).split()[-2:] == ["2.5", "4.0"]
    assert cuda_step.table(models_of({"mask_residual"}), H100) == ""


@pytest.mark.parametrize(
    ("dtypes", "titles"),
    [
        ([torch.float32], ["network, inference", "network, training step"]),
        ([torch.bfloat16], ["network, training step under bfloat16 autocast"]),
        (TYPES, ["network, inference", "network, training step", "network, training step under bfloat16 autocast"]),
    ],
    ids=["float32", "bfloat16", "both"],
)
def test_rows_without_all_their_cases_are_left_out(dtypes: list[torch.dtype], titles: list[str]) -> None:
    models = models_of({case for dtype in dtypes for case in cuda_step.PARTS[dtype]})
    found = [line.split("  ")[0] for line in cuda_step.table(models, H100).splitlines()[2:]]
    assert [title for title in found if title.startswith("network")] == titles
