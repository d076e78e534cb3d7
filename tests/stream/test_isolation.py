"""Processes of their own: without torch, with each instruction set, with nothing built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lite_rtse_ext.stream import isas
from tests.stream.conftest import TOLERANCE, model, noise, offline, relative

ROOT = Path(__file__).parents[2]

ENHANCE = """
import sys
import numpy as np
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("there is no torch here")
sys.meta_path.insert(0, NoTorch())
from lite_rtse_ext.stream import Streamer, isa
assert not any(name.split(".")[0] == "torch" for name in sys.modules)
weights, source, target = sys.argv[1:4]
streamer = Streamer.from_pretrained(weights)
signal = np.load(source)
np.save(target, np.concatenate([streamer.feed(signal[:1000]), streamer.feed(signal[1000:]), streamer.flush()]))
state = streamer.state()
if len(sys.argv) > 4:
    streamer.feed(signal[:1000])
    np.save(sys.argv[4], streamer.state())
print(isa())
"""


def python(code: str, *arguments: object, isa: str | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "LITE_RTSE_ISA"}
    environment |= {"LITE_RTSE_ISA": isa} if isa is not None else {}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("name", ["network", "full", "idle lanes"])
@pytest.mark.parametrize("isa", isas())
def test_without_torch_on_each_instruction_set(tmp_path: Path, isa: str, name: str) -> None:
    model(name).save_checkpoint(tmp_path / "weights.safetensors")
    signal = noise(6000)
    np.save(tmp_path / "signal.npy", signal)
    files = [tmp_path / each for each in ("weights.safetensors", "signal.npy", "out.npy")]
    done = python(ENHANCE, *files, isa=isa)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [isa]
    assert relative(np.load(tmp_path / "out.npy"), offline(name, signal)) <= TOLERANCE


@pytest.mark.parametrize("name", ["network", "full", "idle lanes"])
def test_a_state_fits_every_instruction_set(tmp_path: Path, name: str) -> None:
    """The same numbers stand at the same places, whatever the width of a vector."""
    model(name).save_checkpoint(tmp_path / "weights.safetensors")
    np.save(tmp_path / "signal.npy", noise(3000))
    states = []
    for isa in isas():
        files = [tmp_path / each for each in ("weights.safetensors", "signal.npy", "out.npy", f"{isa}.npy")]
        assert python(ENHANCE, *files, isa=isa).returncode == 0
        states.append(np.load(tmp_path / f"{isa}.npy"))
    for state in states[1:]:
        assert relative(state, states[0]) <= TOLERANCE


@pytest.mark.parametrize("isa", ["avx1024", "AVX2", " "])
def test_an_unknown_instruction_set_is_refused(isa: str) -> None:
    done = python("from lite_rtse_ext import stream; stream.isa()", isa=isa)
    assert done.returncode == 1
    assert f"LITE_RTSE_ISA is '{isa}', must be one of: " in done.stderr


def test_without_the_library_it_says_what_to_do(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("_stream.*.so", "__pycache__")
    shutil.copytree(ROOT / "lite_rtse_ext", tmp_path / "lite_rtse_ext", ignore=ignored)
    # An editable install would find the one in the checkout.
    no_editable = "import sys; sys.meta_path[:] = [finder for finder in sys.meta_path if 'editable' not in str(finder)]"
    done = python(f"{no_editable}; import lite_rtse_ext.stream", cwd=tmp_path)
    assert "ImportError: lite_rtse_ext's compiled library _stream is missing" in done.stderr
    assert "pip install --no-build-isolation ." in done.stderr


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Blocks of odd sizes by the thousand; what a leak of one array a call would add is above the bound."""
    weights = {name: value.numpy() for name, value in model("small").state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    code = """
import sys
import numpy as np
from lite_rtse_ext.stream import Streamer
streamer = Streamer.from_pretrained(sys.argv[1])
signal = np.zeros(1600, np.float32)
def peak_kib():  # not getrusage: its peak begins with what the process that started this one had
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
for size in (1, 255, 777, 1600) * 50:
    streamer.feed(signal[:size])
before = peak_kib()
for size in (1, 255, 777, 1600) * 500:
    streamer.feed(signal[:size])
    streamer.faults
for _ in range(50):
    streamer.restore(streamer.state())
    streamer.reset()
print(peak_kib() - before)
"""
    done = python(code, tmp_path / "weights.safetensors")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2048  # 2000 arrays of 658 samples are 5 MiB
