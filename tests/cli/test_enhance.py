"""``lite-rtse enhance``: what it writes, what it refuses, and how it says so."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors.torch import load_file

from lite_rtse_ext.audio import read, read_format
from lite_rtse_ext.cli.commands.enhance import _by_torch
from lite_rtse_ext.cli.jobs import JobError
from lite_rtse_ext.enhance import enhance_file
from lite_rtse_ext.models import pretrained
from lite_rtse_ext.models.lite_rtse import LiteRTSE
from lite_rtse_ext.ops import _native

from .conftest import Run, assert_one_line, sound


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_a_file(tmp_path: Path, enhance: Run, checkpoint: Path, rate: int) -> None:
    """The engine and PyTorch's way differ by at most 1 in the last of 16 bits."""
    source = sound(tmp_path / "in.wav", 0.5, rate=rate, channels=2)
    result = enhance(source, tmp_path / "out.wav")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"1 file, 0\.5 s of audio in \d+\.\d s, RTF \d+\.\d{3}\n", result.stdout)
    assert result.stderr == ""
    assert read_format(tmp_path / "out.wav") == read_format(source)
    enhance_file(LiteRTSE.from_checkpoint(checkpoint), source, tmp_path / "expected.wav")
    difference = read(tmp_path / "out.wav")[0] - read(tmp_path / "expected.wav")[0]
    assert np.abs(difference).max() <= 2**-15


def test_a_file_into_a_folder(tmp_path: Path, enhance: Run) -> None:
    sound(tmp_path / "in.wav")
    (tmp_path / "out").mkdir()
    assert enhance(tmp_path / "in.wav", tmp_path / "out").exit_code == 0
    assert names(tmp_path / "out") == ["in.wav"]


def test_a_folder_is_mirrored(tmp_path: Path, enhance: Run) -> None:
    source = tmp_path / "in"
    for name in ("a.wav", "deep/er/b.FLAC", "deep/c.ogg", "d.mp3"):
        sound(source / name)
    (source / "notes.txt").write_text("not audio, and not meant to be")
    result = enhance(source, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("4 files, 0.8 s of audio in ")
    assert names(tmp_path / "out") == ["a.wav", "d.mp3", "deep/c.ogg", "deep/er/b.FLAC"]
    for name in names(tmp_path / "out"):
        assert read_format(tmp_path / "out" / name) == read_format(source / name)


def test_outputs_inside_the_input_folder_are_no_inputs(tmp_path: Path, enhance: Run) -> None:
    sound(tmp_path / "a.wav")
    assert enhance(tmp_path, tmp_path / "out").exit_code == 0
    assert enhance(tmp_path, tmp_path / "out", "--force").exit_code == 0
    assert names(tmp_path) == ["a.wav", "out/a.wav"]


def test_a_failing_file_does_not_stop_the_others(tmp_path: Path, enhance: Run) -> None:
    source = tmp_path / "in"
    for name in ("a.wav", "z.wav"):
        sound(source / name)
    (source / "broken.wav").write_text("This is no sound.")
    result = enhance(source, tmp_path / "out")
    assert_one_line(result, "broken.wav", "not an audio file")
    assert result.exit_code == 1
    assert result.stdout.startswith("2 files, 0.4 s of audio in ")
    assert names(tmp_path / "out") == ["a.wav", "z.wav"]


def test_new_folders_without_outputs_do_not_stay(tmp_path: Path, enhance: Run) -> None:
    sound(tmp_path / "in" / "good" / "a.wav")
    for name in ("b.wav", "bad/worse/c.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"RIFF")
    assert enhance(tmp_path / "in", tmp_path / "some").exit_code == 1
    assert names(tmp_path / "some") == ["good/a.wav"]
    assert os.listdir(tmp_path / "some") == ["good"]
    (tmp_path / "old").mkdir()
    for target in (tmp_path / "new" / "deep", tmp_path / "old"):
        assert enhance(tmp_path / "in" / "bad", target).exit_code == 1
    assert enhance(tmp_path / "in" / "b.wav", tmp_path / "new" / "b.wav").exit_code == 1
    assert sorted(os.listdir(tmp_path)) == ["in", "old", "some"]
    assert os.listdir(tmp_path / "old") == []


def test_an_interrupted_run_is_resumed(tmp_path: Path, enhance: Run) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    for name in ("a.wav", "b.wav"):
        sound(source / name)
    sound(target / "a.wav", seconds=0.1)  # done before, with something to tell it by
    result = enhance(source, target, "--skip-existing")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 skipped, as the output exists\n1 file, 0.2 s")
    assert read_format(target / "a.wav").seconds == 0.1
    again = enhance(source, target, "--skip-existing")
    assert (again.exit_code, again.stdout) == (0, "2 skipped, as the output exists\n")


def test_existing_outputs_need_force(tmp_path: Path, enhance: Run) -> None:
    source, target = sound(tmp_path / "in.wav"), tmp_path / "out.wav"
    target.write_text("precious")
    assert_one_line(enhance(source, target), str(target), "exists already", "--force")
    assert target.read_text() == "precious"
    assert enhance(source, target, "--force").exit_code == 0
    assert read_format(target).seconds == 0.2


def test_existing_outputs_of_a_folder_are_found_before_any_work(tmp_path: Path, enhance: Run) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        sound(tmp_path / "in" / name)
    for name in ("b.wav", "c.wav"):
        sound(tmp_path / "out" / name)
    assert_one_line(enhance(tmp_path / "in", tmp_path / "out"), "b.wav and 1 more exist already", "--skip-existing")
    assert names(tmp_path / "out") == ["b.wav", "c.wav"]


@pytest.mark.parametrize("link", ["same", "symbolic", "hard"])
def test_the_input_is_never_overwritten(tmp_path: Path, enhance: Run, link: str) -> None:
    source, target = sound(tmp_path / "in.wav"), tmp_path / "out.wav"
    before = source.read_bytes()
    if link == "same":
        target = source
    elif link == "symbolic":
        target.symlink_to(source)
    else:
        os.link(source, target)
    assert_one_line(enhance(source, target, "--force"), str(target), "is the input", "never overwritten")
    assert source.read_bytes() == before


def test_no_input_of_a_folder_is_overwritten(tmp_path: Path, enhance: Run) -> None:
    sound(tmp_path / "in" / "a.wav")
    sound(tmp_path / "in" / "b.wav")
    assert_one_line(enhance(tmp_path / "in", tmp_path / "in", "--force"), "is the input folder itself")
    (tmp_path / "out").mkdir()
    os.link(tmp_path / "in" / "a.wav", tmp_path / "out" / "b.wav")  # an input, though not this one's
    assert_one_line(enhance(tmp_path / "in", tmp_path / "out", "--force"), "b.wav", "is the input", "a.wav")


def test_bad_inputs_are_one_line(tmp_path: Path, enhance: Run) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("Not a sound.")
    (tmp_path / "folder").mkdir()
    sf.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16_000, subtype="FLOAT")
    for name, words in [
        ("missing.wav", "no such file or folder"),
        ("empty.wav", "the file is empty"),
        ("text.wav", "not an audio file"),
        ("nan.wav", "sample 1 of channel 0 is nan"),
        ("folder", "no audio files in this folder"),
    ]:
        assert_one_line(enhance(tmp_path / name, tmp_path / "out.wav"), name, words)
    assert not (tmp_path / "out.wav").exists()


def test_bad_outputs_are_one_line(tmp_path: Path, enhance: Run) -> None:
    source = sound(tmp_path / "in" / "a.wav")
    (tmp_path / "file").write_text("")
    assert_one_line(enhance(source, tmp_path / "file" / "out.wav"), "file: expected a folder, got a regular file")
    assert_one_line(enhance(source, tmp_path / "file" / "deep" / "out.wav"), "file", "Not a directory")
    assert_one_line(enhance(tmp_path / "in", tmp_path / "file"), "file: expected a folder")
    assert_one_line(enhance(source, tmp_path / "out.xyz"), "out.xyz", "unknown kind of audio file")


def test_an_unwritable_folder_is_one_line(tmp_path: Path, enhance: Run) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may write there too; in /proc nobody may
        locked = Path("/proc")
    result = enhance(sound(tmp_path / "in.wav"), locked / "out.wav")
    assert_one_line(result, f"{locked / 'out.wav'}: can't be written")


def test_bad_checkpoints_are_one_line(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    source = sound(tmp_path / "in.wav")
    (tmp_path / "text.pt").write_text("Not a checkpoint.")
    torch.save({"state_dict": {"other.weight": torch.zeros(2)}}, tmp_path / "other.pt")
    monkeypatch.setattr(pretrained, "_WEIGHTS", tmp_path / "none.safetensors")
    (tmp_path / "run").mkdir()
    assert_one_line(run("enhance", source, tmp_path / "out.wav"), "give --checkpoint PATH")
    for name, words in [
        ("missing.pt", "No such file"),
        ("text.pt", "not a checkpoint"),
        ("other.pt", "is missing"),
        ("run", "got a folder. The weights of a run are in its best.safetensors"),
    ]:
        result = run("enhance", source, tmp_path / "out.wav", "--checkpoint", tmp_path / name)
        assert_one_line(result, name, words)


def test_bad_devices_are_one_line(tmp_path: Path, enhance: Run) -> None:
    source = sound(tmp_path / "in.wav")
    for name in ("abacus", "xpu", "meta", "mps", "cuda:x", ""):
        result = enhance(source, tmp_path / "out.wav", "--device", name)
        assert_one_line(result, f"--device {name}: expected cpu, cuda or cuda:N")


@pytest.mark.parametrize(
    ("kernels", "words"), [(False, "this build of lite-rtse-ext has no CUDA kernels"), (True, "no usable CUDA GPU")]
)
def test_cuda_needs_kernels_and_a_gpu(
    tmp_path: Path, enhance: Run, monkeypatch: pytest.MonkeyPatch, kernels: bool, words: str
) -> None:
    monkeypatch.setattr(_native, "has_cuda", lambda: kernels)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: not kernels)
    result = enhance(sound(tmp_path / "in.wav"), tmp_path / "out.wav", "--device", "cuda:0")
    assert_one_line(result, "--device cuda:0", words)


def test_the_checkpoint_may_come_from_the_environment(
    tmp_path: Path, run: Run, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITE_RTSE_CHECKPOINT", str(checkpoint))
    assert run("enhance", sound(tmp_path / "in.wav"), tmp_path / "out.wav").exit_code == 0


def test_files_at_a_time_do_not_matter(tmp_path: Path, enhance: Run) -> None:
    for number in range(5):
        sound(tmp_path / "in" / f"{number}.wav", 0.3 + 0.1 * number)
    for count in (1, 3):
        assert enhance(tmp_path / "in", tmp_path / str(count), "--threads", count).exit_code == 0
    for number in range(5):
        one, three = (tmp_path / count / f"{number}.wav" for count in ("1", "3"))
        assert one.read_bytes() == three.read_bytes()


def test_attenuation_limit_and_wet_mix_the_input_in(tmp_path: Path, enhance: Run) -> None:
    source = sound(tmp_path / "in.wav", 0.5)
    for name, options in {
        "all": [],
        "none": ["--wet", 0],
        "half": ["--wet", 0.5],
        "limited": ["--attenuation-limit", 20],
        "unlimited": ["--attenuation-limit", "inf"],
    }.items():
        assert enhance(source, tmp_path / f"{name}.wav", *options).exit_code == 0
    noisy, *mixed = (
        read(tmp_path / f"{name}.wav")[0] for name in ("in", "all", "none", "half", "limited", "unlimited")
    )
    enhanced, none, half, limited, unlimited = mixed
    np.testing.assert_array_equal(unlimited, enhanced)
    for got, share in ((none, 0.0), (half, 0.5), (limited, 0.9)):
        np.testing.assert_allclose(got, share * enhanced + (1 - share) * noisy, atol=2**-14)
    assert "--wet" in enhance(source, tmp_path / "x.wav", "--wet", 1.1).stderr


def test_an_extra_reduction_turns_noise_down_by_more(tmp_path: Path, run: Run, enhance: Run) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    sf.write(tmp_path / "in.wav", noise, 16_000, subtype="FLOAT")
    levels = []
    for extra_db in ("0", "6", "inf"):
        arguments = (tmp_path / "in.wav", tmp_path / "out.wav", "--force", "--extra-reduction", extra_db)
        assert run("enhance", *arguments).exit_code == 0
        levels.append(20 * np.log10(np.sqrt(np.mean(read(tmp_path / "out.wav")[0][8000:] ** 2))))
    assert 4 < levels[0] - levels[1] < 6.5
    assert levels[1] > levels[2]
    refused = enhance(tmp_path / "in.wav", tmp_path / "x.wav", "--extra-reduction", 6)
    assert refused.exit_code == 1
    assert refused.stderr.endswith("expected 0 for weights that do not state their min_gain, got 6\n")
    assert not (tmp_path / "x.wav").exists()
    assert (
        "--extra-reduction" in run("enhance", tmp_path / "in.wav", tmp_path / "x.wav", "--extra-reduction", -1).stderr
    )


def test_weights_without_a_known_minimum_gain_are_named(tmp_path: Path, run: Run) -> None:
    """By the engine from a PyTorch file, and by PyTorch, as on a GPU."""
    weights = tmp_path / "weights.pt"
    torch.save(LiteRTSE(channels=4, order=2).state_dict(), weights)
    source = sound(tmp_path / "in.wav")
    expected = f"{weights}: extra_reduction_db: expected 0 for weights that do not state their min_gain, got 6"
    refused = run("enhance", source, tmp_path / "out.wav", "--extra-reduction", 6, "--checkpoint", weights)
    assert refused.stderr == f"Error: {expected}\n"
    with pytest.raises(JobError, match=f"^{re.escape(expected)}$"):
        _by_torch("cpu", weights, 6.0, {})


def test_a_constant_offset_is_taken_out_unless_it_is_left(tmp_path: Path, enhance: Run) -> None:
    samples = read(sound(tmp_path / "plain.wav", 0.5))[0]
    sf.write(tmp_path / "lifted.wav", samples + 0.25, 16_000, subtype="FLOAT")
    for options in ((), ("--no-high-pass",)):
        for name in ("plain", "lifted"):
            assert enhance(tmp_path / f"{name}.wav", tmp_path / f"{name}.out.wav", *options, "--force").exit_code == 0
        plain, lifted = (read(tmp_path / f"{name}.out.wav")[0] for name in ("plain", "lifted"))
        assert (np.abs(lifted - plain).max() > 2**-8) == bool(options)


def test_pytorch_checkpoints_are_read_too(tmp_path: Path, run: Run, enhance: Run, checkpoint: Path) -> None:
    source = sound(tmp_path / "in.wav")
    torch.save({"model": load_file(checkpoint)}, tmp_path / "model.pt")
    assert run("enhance", source, tmp_path / "pt.wav", "--checkpoint", tmp_path / "model.pt").exit_code == 0
    assert enhance(source, tmp_path / "safetensors.wav").exit_code == 0
    assert (tmp_path / "pt.wav").read_bytes() == (tmp_path / "safetensors.wav").read_bytes()


@pytest.mark.parametrize(("source", "target"), [("", "out.wav"), ("in.wav", "")])
def test_an_empty_name_is_not_the_current_folder(
    tmp_path: Path, enhance: Run, monkeypatch: pytest.MonkeyPatch, source: str, target: str
) -> None:
    sound(tmp_path / "in.wav")
    monkeypatch.chdir(tmp_path)
    result = enhance(source, target)
    assert (result.exit_code, names(tmp_path)) == (2, ["in.wav"])
    assert "expected a name, got an empty one" in result.stderr


def test_force_and_skip_existing_exclude_each_other(tmp_path: Path, enhance: Run) -> None:
    source = sound(tmp_path / "in.wav")
    assert_one_line(enhance(source, tmp_path / "out.wav", "--force", "--skip-existing"), "exclude each other")


def test_a_file_far_above_full_scale_does_not_stop_the_others(tmp_path: Path, enhance: Run) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    for name in ("a.wav", "z.wav"):
        sound(source / name)
    sf.write(source / "loud.wav", np.tile(np.float32([3e38, -3e38]), 2000), 16_000, subtype="FLOAT")
    result = enhance(source, target)
    assert_one_line(result, "loud.wav: the network's result was not finite")
    assert (result.exit_code, names(target)) == (1, ["a.wav", "z.wav"])


def test_the_input_folder_may_lie_in_the_output_folder(tmp_path: Path, enhance: Run) -> None:
    sound(tmp_path / "in" / "a.wav")
    result = enhance(tmp_path / "in", tmp_path)
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == ["a.wav", "in/a.wav"]
