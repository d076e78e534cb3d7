"""The model of the CUDA kernels: what it counts is what the emulator counts, and it says that it is a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import cuda_floor, cuda_layers, cuda_model, flops
from benchmarks.cuda_floor import DEVICES, DeviceFigures, Model, Row
from benchmarks.cuda_operations import multiply_adds
from benchmarks.eager_traffic import Operation, traffic
from lite_rtse_ext.benchmark.operators import case

from ..cuda import network, trace
from ..simt import build

pytestmark = pytest.mark.skipif(bool(trace.missing()), reason=trace.missing())

BLOCK = "multi_order_conv"
A100, H100, RTX_4090 = DEVICES


@trace.needs(BLOCK)
@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_a_training_step_of_the_block_moves_a_quarter_of_eagers_bytes_at_most(
    device: DeviceFigures,
) -> None:
    both = [cuda_model.model(BLOCK, what, device, 1, 60, 4, {}) for what in cuda_model.PASSES]
    fused = sum(cuda_floor.moved(found.kernels) for found in both)
    assert fused <= sum(cuda_floor.moved(found.eager) for found in both) / 4


@trace.needs(BLOCK)
def test_bytes_are_those_of_the_planes() -> None:
    """By hand, in channels: 32 of x to 128 of h; 124 of h to u; 4 of h and u to y. Every block is run."""
    calls = network.CASES[BLOCK](1, 4, torch.float32)
    name, arguments = calls.of("forward")
    launches = {cuda_model.family(launch.kernel): launch for launch in trace.count(name, *arguments, device="sm_90")}
    plane = 4 * 4 * network.BINS
    moved = {kernel: (launch.read_bytes / plane, launch.written_bytes / plane) for kernel, launch in launches.items()}
    assert moved == {"pointwise": (32, 128), "cascade_forward": (124, 124), "gates_forward": (128, 1)}
    weights, biases = arguments[1:]
    assert sum(launch.parameter_bytes for launch in launches.values()) == 4 * sum(
        parameter.numel() for parameter in (*weights, *biases)
    )


@trace.needs(BLOCK)
@pytest.mark.parametrize("what", ["forward", "backward"])
def test_some_blocks_stand_for_all(what: str) -> None:
    """Even in grids so small that the last block of a kernel, which has less to do, weighs something."""
    calls = network.CASES[BLOCK](1, 24, torch.float32)
    whole, some = (cuda_model.kernel_rows(calls, what, H100, blocks, {}) for blocks in (0, 12))
    for w, s in zip(whole, some, strict=True):
        assert (s.kernel, s.launches, s.flops) == (w.kernel, w.launches, w.flops)
        assert s.bytes == pytest.approx(w.bytes, rel=0.2)
        assert s.passes == pytest.approx(w.passes, rel=0.2)
    assert cuda_floor.moved(some) == pytest.approx(cuda_floor.moved(whole), rel=0.05)
    assert sum(row.passes for row in some) == pytest.approx(sum(row.passes for row in whole), rel=0.05)


@pytest.mark.parametrize("name", ["causal_dwconv2d", "conv_block 1 to 32", "conv_block 32 to 32", BLOCK])
def test_forward_operations_are_those_of_the_module(name: str) -> None:
    calls = network.CASES[name](1, 1, torch.float32)
    wanted = multiply_adds(calls.operator, calls.forward, backward=False)
    module = case(name.split(" ")[0], 1, 1).reference if "1 to" not in name else _first_block()
    assert sum(wanted.values()) == flops.macs_per_point(module)


def _first_block() -> nn.Module:
    return case("conv_blocks", 1, 1).reference[0]  # type: ignore[index]


def test_backward_operations() -> None:
    """Two passes, and the forward pass anew; in the block the cascade but for each channel's last stage once more."""
    for name in ("conv_block 1 to 32", "conv_block 32 to 32", BLOCK):
        calls = network.CASES[name](1, 1, torch.float32)
        forward = sum(multiply_adds(calls.operator, calls.forward, backward=False).values())
        backward = sum(multiply_adds(calls.operator, calls.backward, backward=True).values())
        again = 49 * (120 + 112 + 96) - 64 if name == BLOCK else 0  # W_out is not computed anew
        assert backward == 3 * forward + again


def test_operations_on_tensor_cores() -> None:
    """By hand: four stages of 124, 120, 112 and 96 channels, and 35 products of fragments for 257 bins of each."""
    calls = network.CASES[BLOCK](1, 1, torch.bfloat16)
    forward = multiply_adds(calls.operator, calls.forward, backward=False, bands=True)
    backward = multiply_adds(calls.operator, calls.backward, backward=True, bands=True)
    a_row = 35 * 16 * 8 * 16 / network.BINS
    assert forward["cascade_forward"] == 0
    assert forward["cascade_forward, on tensor cores"] == round(a_row * (124 + 120 + 112 + 96))
    assert backward["cascade_gradient"] == 49 * (124 + 120 + 112 + 96)
    assert backward["cascade_gradient, on tensor cores"] == round(a_row * (124 + 2 * (120 + 112 + 96)))


def test_every_kernel_has_its_operations() -> None:
    """At the network's shapes; a kernel that is not in the table is a KeyError."""
    for name, calls in cuda_model.CASES.items():
        if not build.operator_sources(network.OPERATORS[name]):
            continue
        for what in cuda_model.PASSES:
            rows = cuda_model.kernel_rows(calls(1, 2, torch.float32), what, H100, 1, {})
            assert rows
            assert all(row.bytes > 0 and row.floor_s > 0 for row in rows)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, device="meta")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)[:, :2] * x


def test_eager_operations_are_counted() -> None:
    """By hand: 2 and 4 channels of 1 × 5 × 6 numbers, a kernel of 72 weights and 4 biases."""
    x = torch.empty(1, 2, 5, 6, device="meta", requires_grad=True)
    channel, parameters = 4 * 30, 4 * 76
    assert traffic(Twice(), [x], backward=False) == [
        Operation("convolution", 2 * channel + parameters, 4 * channel, 2 * 4 * 30 * 18),
        Operation("mul", 4 * channel, 2 * channel, 0),
    ]
    backward = traffic(Twice(), [x], backward=True)
    assert [operation.name for operation in backward] == ["mul", "mul", "slice_backward", "convolution_backward", "add"]
    assert backward[2] == Operation("slice_backward", 2 * channel, 4 * channel, 0)
    assert backward[3].flops == 2 * 2 * 4 * 30 * 18
    assert backward[4] == Operation("add", 4 * channel, 2 * channel, 0)


def test_an_expanded_tensor_is_read_once() -> None:
    x = torch.empty(3, device="meta").expand(100, 3)
    (operation,) = traffic(_Negative(), [x], backward=False)
    assert (operation.read_bytes, operation.written_bytes) == (12, 1200)


class _Negative(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x


def test_the_floor_is_the_longest_of_three() -> None:
    assert cuda_floor.floor(H100, 3.35e9, 1.0, 1.0) == (pytest.approx(1e-3), "memory")
    assert cuda_floor.floor(H100, 1.0, 66.9e9, 1.0) == (pytest.approx(1e-3), "arithmetic")
    assert cuda_floor.floor(H100, 1.0, 66.9e9, 1.0, half_flops=2 * 989e9) == (pytest.approx(2e-3), "arithmetic")
    passes = 132 * 1.98e9
    assert cuda_floor.floor(H100, 1.0, 1.0, passes) == (pytest.approx(1, rel=1e-3), "shared memory")


def test_few_blocks_use_few_multiprocessors() -> None:
    clocks = 1.98e9
    assert cuda_floor.floor(H100, 1.0, 1.0, 66 * clocks, blocks=66) == (pytest.approx(1, rel=1e-3), "shared memory")
    assert cuda_floor.floor(H100, 1.0, 66.9e9 / 2, 1.0, blocks=66) == (pytest.approx(1e-3), "arithmetic")
    assert cuda_floor.floor(H100, 1.0, 66.9e9, 1.0, blocks=1000) == (pytest.approx(1e-3), "arithmetic")


def test_meetings_are_added_to_the_longest_of_three() -> None:
    meeting = cuda_floor.MEETING_S
    assert cuda_floor.floor(H100, 3.35e6, 1.0, 1.0, meetings=2) == (pytest.approx(1e-6 + 2 * meeting), "meetings")
    assert cuda_floor.floor(H100, 3.35e9, 1.0, 1.0, meetings=2) == (pytest.approx(1e-3 + 2 * meeting), "memory")


@trace.needs("lstm")
@pytest.mark.parametrize("what", ["forward", "backward"])
def test_the_blocks_of_an_lstm_meet_between_two_frames(what: str) -> None:
    """Operations by hand: 257 x 1028 multiply-adds a frame of a sequence. A cluster also meets before the first one."""
    for frames in (2, 5):
        calls = network.LAYERS["lstm 257"](16, frames, torch.float32)
        for device, meetings, meeting in (
            (A100, frames - 1, cuda_floor.MEETING_S),
            (H100, frames, cuda_floor.CLUSTER_MEETING_S),
        ):
            (row,) = cuda_model.kernel_rows(calls, what, device, 4, {})
            assert row.meetings == meetings
            assert row.flops == 2 * 16 * frames * 257 * 1028
            (least, _) = cuda_floor.floor(
                device, row.bytes, row.flops, row.passes or 0, 4 * (17 if device is A100 else 8)
            )
            assert row.floor_s == pytest.approx(least + meetings * meeting)


@trace.needs("lstm")
def test_bytes_of_an_lstm_are_those_of_the_frames() -> None:
    """Every block is run. Read: the gates' inputs, and by each of 17 blocks h of the frames before. W_hh and biases
    once. Written: gates, c and h of the frames, and the last state.
    """
    frames = 3
    calls = network.LAYERS["lstm 257"](4, frames, torch.float32)
    (launch,) = trace.count("lstm", *calls.forward, device="sm_80")
    vector = 4 * 4 * 257  # of four sequences
    assert (launch.blocks, launch.cluster, launch.arrivals) == (17, 1, 17 * (frames - 1))
    assert launch.read_bytes == vector * (4 * frames + 17 * (frames - 1))
    assert launch.written_bytes == vector * (6 * frames + 2)
    assert launch.remote_bytes == 0
    assert launch.parameter_bytes == 4 * (4 * 257 * 257 + 2 * 4 * 257)


@trace.needs("lstm")
def test_a_cluster_of_an_lstm_reads_no_frame_back() -> None:
    """Each of 8 blocks writes h of its units to all 8 between two frames, and in the backward pass that of four gates.
    Other bytes are those of the frames.
    """
    frames = 3
    calls = network.LAYERS["lstm 257"](4, frames, torch.float32)
    (launch,) = trace.count("lstm", *calls.forward, device="sm_90")
    vector = 4 * 4 * 257
    assert (launch.blocks, launch.cluster, launch.arrivals) == (8, 8, 8 * frames)
    assert launch.read_bytes == vector * 4 * frames
    assert launch.written_bytes == vector * (6 * frames + 2)
    assert launch.remote_bytes == vector * 8 * (frames - 1)
    (back,) = trace.count("lstm_backward", *calls.backward, device="sm_90")
    assert (back.cluster, back.remote_bytes) == (8, 4 * vector * 8 * (frames - 1))


@trace.needs("lstm")
@pytest.mark.parametrize("what", ["forward", "backward"])
def test_an_lstm_in_bfloat16_moves_half_of_the_bytes(what: str) -> None:
    """In memory all is of half the size. Of shared memory, products read pairs, so they need half of the passes."""
    wide, half = (
        cuda_model.kernel_rows(network.LAYERS[case](16, 40, torch.float32), what, H100, 4, {})
        for case in ("lstm 257", "lstm 257 in bfloat16")
    )
    assert half[0].bytes == pytest.approx(wide[0].bytes / 2)
    assert half[0].passes is not None
    assert wide[0].passes is not None
    assert half[0].passes < 0.7 * wide[0].passes
    assert (half[0].flops, half[0].meetings) == (wide[0].flops, wide[0].meetings)


@trace.needs("gru")
def test_a_gru_of_few_units_meets_nobody() -> None:
    rows = cuda_model.kernel_rows(network.LAYERS["gru 8"](1, 4, torch.float32), "forward", H100, 2, {})
    assert [(row.kernel, row.meetings, row.flops) for row in rows] == [("gru_lanes_forward", 0, 2 * 33 * 4 * 3 * 64)]


def test_products_around_a_recurrent_layer() -> None:
    """By hand, of an LSTM of 257 units: W_ih x, then the gradients of x, W_ih and W_hh."""
    calls = network.LAYERS["lstm 257"](2, 3, torch.float32)
    (forward,) = cuda_layers.products(calls, "forward")
    assert forward == Operation("mm", 4 * (6 * 257 + 257 * 1028), 4 * 6 * 1028, 2 * 6 * 257 * 1028)
    *products, _ = cuda_layers.products(calls, "backward")
    assert [product.flops for product in products] == [forward.flops] * 3
    assert len(cuda_layers.products(network.LAYERS["gru 64 in both directions"](1, 1, torch.float32), "forward")) == 2


@trace.needs(BLOCK)
def test_half_types_of_1x1_convolutions_are_of_tensor_cores() -> None:
    """By hand: 32 channels of x in bfloat16, 128 of h in float32. The gradient of x takes the same operations."""
    calls = network.LAYERS["multi_order_conv in bfloat16"](1, 4, torch.float32)
    forward, backward = (
        [row for row in cuda_model.kernel_rows(calls, what, H100, 0, {}) if row.kernel == "pointwise"]
        for what in cuda_model.PASSES
    )
    assert [row.launches for row in (*forward, *backward)] == [1, 1, 1]
    points = 4 * network.BINS
    assert {row.flops for row in (*forward, *backward)} == {2 * 32 * 128 * points}
    assert forward[0].written_bytes == 4 * 128 * points
    assert forward[0].read_bytes == 2 * (32 * points + 33 * 128)
    (wide,) = (
        row
        for row in cuda_model.kernel_rows(network.CASES[BLOCK](1, 4, torch.float32), "forward", H100, 0, {})
        if row.kernel == "pointwise"
    )
    assert forward[0].passes is not None
    assert wide.passes is not None
    assert forward[0].passes < wide.passes / 3


def test_the_kernels_on_tensor_cores() -> None:
    for half in ("__half", "__nv_bfloat16"):
        assert cuda_model.on_tensor_cores(f"lite_rtse::cuda::pointwise<{half}, {half}, float>")
        assert not cuda_model.on_tensor_cores(f"lite_rtse::cuda::pointwise<float, {half}, {half}>")
        assert not cuda_model.on_tensor_cores(f"lite_rtse::cuda::pointwise_gradient<{half}, {half}, float>")
    assert not cuda_model.on_tensor_cores("lite_rtse::cuda::pointwise<float, float, float>")
    assert not cuda_model.on_tensor_cores("k")


def test_products_of_half_types_are_of_tensor_cores() -> None:
    wide, half = (network.LAYERS[case](64, 250, torch.float32) for case in ("lstm 257", "lstm 257 in bfloat16"))
    assert [cuda_layers.peak(calls, H100) for calls in (wide, half)] == [H100.peak, H100.half_peak]
    (product,) = cuda_layers.products(half, "forward")
    assert 2 * product.read_bytes == cuda_layers.products(wide, "forward")[0].read_bytes
    (row,) = cuda_floor.eager_rows([product], H100, H100.half_peak)
    assert row.floor_s < cuda_floor.eager_rows([product], H100)[0].floor_s


def test_cudnn_launches_kernels_for_each_frame() -> None:
    row = cuda_layers.cudnn(network.LAYERS["lstm 257"](16, 250, torch.float32), H100)
    assert (row.launches, row.bound) == (1000, "launches")
    assert row.floor_s == pytest.approx(1000 * cuda_floor.LAUNCH_S)
    half = cuda_layers.cudnn(network.LAYERS["lstm 257 in bfloat16"](16, 250, torch.float32), H100)
    assert (half.launches, half.bytes) == (row.launches, row.bytes / 2)
    many = cuda_layers.cudnn(network.LAYERS["lstm 257"](100_000, 1, torch.float32), H100)
    assert (many.launches, many.bound) == (4, "arithmetic")


def test_matrix_products_are_counted() -> None:
    """By hand: 5 rows of 3 numbers become 2 numbers each."""
    x = torch.empty(5, 3, device="meta", requires_grad=True)
    layer = nn.Linear(3, 2, device="meta")
    (forward,) = traffic(layer, [x], backward=False)
    assert forward.flops == 2 * 5 * 3 * 2
    assert sum(operation.flops for operation in traffic(layer, [x], backward=True)) == 2 * forward.flops


@pytest.mark.parametrize(("device", "clock"), [(A100, 1.41e9), (H100, 1.98e9), (RTX_4090, 2.52e9)])
def test_peaks_and_clocks_agree(device: DeviceFigures, clock: float) -> None:
    """The boost clocks of the same sources."""
    assert device.clock == pytest.approx(clock, rel=2e-3)


def test_occupancy() -> None:
    """By hand: 128 threads with 128 registers are 4 blocks of 65,536 registers, 512 of 2,048 threads."""
    launch = trace.Launch("k", 1, 1, 128, 0, 0, 0, 0, 0, 0, 1, 0, ())
    assert cuda_model._occupancy(launch, H100, {"k": 128}) == pytest.approx(512 / 2048)
    assert cuda_model._occupancy(launch, H100, {}) is None


@trace.needs("mask_residual")
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_model.machine_code, "missing", lambda: "no nvcc here")
    path = tmp_path / "model.json"
    cuda_model.main(
        ["--case", "mask_residual", "--device", "H100", "--batch", "1", "--frames", "3", "--json", str(path)]
    )
    text = capsys.readouterr().out
    assert text.startswith("A model, nothing measured")
    assert "Occupancy is left out: no nvcc here." in text
    assert "mask_residual, forward, 1 × 3 frames, float32: H100 (model)" in text
    assert "mask_residual, training step, H100 (model): " in text
    figures = json.loads(path.read_text())
    assert figures["note"].startswith("a model, nothing measured")
    assert [m["what"] for m in figures["models"]] == ["forward", "backward"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--batch", "0"], "argument --batch: must be at least 1, but is 0"),
        (["--device", "GTX 280"], "argument --device: invalid choice: 'GTX 280'"),
    ],
)
def test_bad_options_are_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_code:
        cuda_model.main(arguments)
    assert exit_code.value.code == 2
    assert line in capsys.readouterr().err


def test_no_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_model.trace, "missing", lambda: "no g++ here")
    with pytest.raises(SystemExit, match=r"^cuda_model: no g\+\+ here$"):
        cuda_model.main(["--batch", "1"])


def test_rows_of_the_table() -> None:
    row = Row("k", 2, 1e6, 2e6, 3e9, 4e6, 0.5, 5e-6, "memory")
    found = Model("c", "forward", "H100", 1, 2, [row], [Row("e", 1, 4e6, 8e6, 0, None, None, 1e-5, "memory")])
    lines = cuda_model.table(found).splitlines()
    assert lines[0] == "c, forward, 1 × 2 frames, float32: H100 (model)"
    assert lines[2].split() == ["k", "2", "1.0", "2.0", "3.00", "4.00", "50", "%", "5", "memory"]
    assert lines[-1] == "of eager's bytes 0.25, of eager's floor 0.50"
