"""Synthesized voices, by kokoro-onnx with a small network in place of Kokoro's."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile as sf
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from onnx import TensorProto, helper

from lite_rtse_ext.cli import main
from lite_rtse_ext.data import Manifest, ManifestError
from lite_rtse_ext.data.check import check_files
from lite_rtse_ext.data.prepare.sources.voices import FOLDER, Kokoro, Voice, draw_voice, prepare_voices, read_text
from tests.data.prepare.corpus import make_corpus

pytest.importorskip("kokoro_onnx")
NAMES = ["af_ann", "am_bob", "bf_cat", "bm_dan", "em_eli"]
SAMPLES_PER_TOKEN = 600


def write_network(path: Path) -> None:
    """A network with Kokoro's inputs and output. Its speech is a tone, whose frequency and level the style states."""

    def constant(name: str, value: NDArray[np.generic]) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(value))

    nodes = [
        constant("each", np.array(SAMPLES_PER_TOKEN, np.int64)),
        constant("zero", np.array(0, np.int64)),
        constant("one", np.array(1, np.int64)),
        helper.make_node("Size", ["tokens"], ["size"]),
        helper.make_node("Mul", ["size", "each"], ["length"]),
        helper.make_node("Range", ["zero", "length", "one"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["time"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["style", "zero"], ["rate"], axis=1),
        helper.make_node("Gather", ["style", "one"], ["level"], axis=1),
        helper.make_node("Mul", ["time", "rate"], ["steps"]),
        helper.make_node("Mul", ["steps", "speed"], ["phase"]),
        helper.make_node("Sin", ["phase"], ["tone"]),
        helper.make_node("Mul", ["tone", "level"], ["audio"]),
    ]
    inputs: list[tuple[str, int, list[str | int]]] = [
        ("tokens", TensorProto.INT64, [1, "n"]),
        ("style", TensorProto.FLOAT, [1, 256]),
        ("speed", TensorProto.FLOAT, [1]),
    ]
    graph = helper.make_graph(
        nodes,
        "kokoro",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["length"])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_styles(path: Path, level: float = 0.3) -> None:
    styles = {}
    for number, name in enumerate(NAMES):
        styles[name] = np.zeros((510, 1, 256), np.float32)
        styles[name][:, :, 0], styles[name][:, :, 1] = 0.05 * (number + 1), level
    with path.open("wb") as file:
        np.savez(file, **styles)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_network(folder / "model.onnx")
    write_styles(folder / "styles.bin")
    (folder / "english.txt").write_text("The sea was calm.\n\nNobody had seen the old lighthouse keeper since May.\n")
    (folder / "spanish.txt").write_text("La casa es de mi hermana y el jardín también.\n", "utf-8")
    return folder


def prepare(folder: Path, files: Path, *arguments: object, styles: str = "styles.bin") -> Result:
    texts = [f"--text=en-us={files / 'english.txt'}", f"--text=es={files / 'spanish.txt'}"]
    named = ["--model", files / "model.onnx", "--styles", files / styles, "--out", folder, *texts]
    return CliRunner().invoke(main, ["prepare", "voices", *map(str, (*named, *arguments))])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Path:
    folder = tmp_path_factory.mktemp("voices") / "new"
    outcome = prepare(folder, files, "--count", 7, "--utterances", 2, "--seed", 5)
    assert outcome.exit_code == 0, outcome.output
    assert "14 of 14 utterances" in outcome.output
    return folder


def test_the_first_voices_are_pure_and_the_others_are_averages_of_one_gender() -> None:
    voices = [draw_voice(3, number, NAMES, ["en-us", "es"]) for number in range(400)]
    assert voices == [draw_voice(3, number, NAMES, ["en-us", "es"]) for number in range(400)]
    assert draw_voice(4, 0, NAMES, ["en-us", "es"]) != voices[0]
    assert [voice.label for voice in voices[:5]] == NAMES
    for voice in voices[5:]:
        first, second = voice.names
        assert first != second
        assert first[1] == second[1]
        assert voice.label == f"{first}+{second} {voice.share:.2f}"
    assert len({voice.label for voice in voices}) > 150
    own = [voice.language for voice in voices if voice.names[0][0] == "a"]
    assert 0.8 < own.count("en-us") / len(own) < 0.98  # four of five, and half of the rest
    assert draw_voice(0, 9, ["xf_only"], ["es"]).names == ("xf_only", "xf_only")


def test_speech_is_listed_with_its_voice(made: Path) -> None:
    manifest = Manifest.load(made / "manifest.json")
    assert check_files(manifest, decode=True) == {}
    names = [clip.path for clip in manifest.select("speech", "train")]
    assert names == [f"{FOLDER}/5-{which:06}-{number:06}.flac" for number in range(2) for which in range(7)]
    for clip, which in zip(manifest.clips, [*range(7)] * 2, strict=True):
        voice = draw_voice(5, which, NAMES, ["en-us", "es"])
        assert (clip.label, clip.license) == (voice.label, "Apache-2.0")
        assert f"{voice.language}, speed {voice.speed:.2f}" in clip.source
    assert len({clip.label for clip in manifest.clips}) == 7


def test_the_tone_is_that_of_the_voice_and_its_speed(made: Path) -> None:
    """So style, weight and speed reach the network, and the result has 16 kHz."""
    for which in range(7):
        voice = draw_voice(5, which, NAMES, ["en-us", "es"])
        samples, rate_hz = sf.read(made / FOLDER / f"5-{which:06}-000000.flac", dtype="float32")
        assert rate_hz == 16_000
        first, second = (0.05 * (NAMES.index(name) + 1) for name in voice.names)
        expected_hz = (voice.share * first + (1 - voice.share) * second) * voice.speed * 24_000 / (2 * np.pi)
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        assert np.argmax(spectrum) * rate_hz / len(samples) == pytest.approx(expected_hz, rel=5e-3)
        assert np.abs(samples).max() == pytest.approx(0.3, rel=0.05)


def test_what_is_complete_is_kept_and_the_rest_is_made(made: Path, files: Path) -> None:
    first, second, third = (made / FOLDER / f"5-{which:06}-000001.flac" for which in range(3))
    before = [path.read_bytes() for path in (first, second, third)]
    os.utime(first, ns=(1, 1))
    second.write_bytes(before[1][: len(before[1]) // 2])
    third.unlink()
    assert prepare(made, files, "--count", 7, "--utterances", 2, "--seed", 5).exit_code == 0
    assert [path.read_bytes() for path in (first, second, third)] == before
    assert first.stat().st_mtime_ns == 1


def test_speech_joins_what_is_prepared(tmp_path: Path, files: Path) -> None:
    before = Manifest.load(make_corpus(tmp_path))
    for count in (3, 2):  # the later call replaces the speech of the earlier one
        assert prepare(tmp_path, files, "--count", count, "--utterances", 1).exit_code == 0
        manifest = Manifest.load(tmp_path / "manifest.json")
        assert dataclasses.replace(manifest, clips=manifest.clips[:-count]) == before
        assert {clip.label for clip in manifest.clips[-count:]} == set(NAMES[:count])


def test_what_cannot_be_spoken_is_left_out(tmp_path: Path, files: Path) -> None:
    target = tmp_path / "out"
    model = Kokoro(files / "model.onnx", files / "styles.bin")

    class Deaf:
        names: Sequence[str] = NAMES

        def speak(self, text: str, voice: Voice) -> NDArray[np.float32]:
            if voice.names[0] == NAMES[1]:
                raise ValueError("no phonemes")
            return model.speak(text, voice)

    lines: list[str] = []
    manifest = prepare_voices(target, Deaf(), {"es": ["Hola a todos."]}, count=3, utterances=1, report=lines.append)
    assert lines == ["left out: 0-000001-000000.flac: no phonemes", "3 of 3 utterances"]
    assert [clip.label for clip in manifest.clips] == [NAMES[0], NAMES[2]]


def test_an_unknown_language_is_named_and_leaves_no_folder(tmp_path: Path, files: Path) -> None:
    named = ["--model", files / "model.onnx", "--styles", files / "styles.bin", "--out", tmp_path / "out"]
    text = f"--text=xx={files / 'english.txt'}"
    outcome = CliRunner().invoke(main, ["prepare", "voices", *map(str, named), text, "--count", "1"])
    assert '"xx"' in outcome.output
    assert outcome.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_silence_is_left_out(tmp_path: Path, files: Path) -> None:
    write_styles(files / "soft.bin", level=0.01)
    outcome = prepare(tmp_path, files, "--count", 2, "--utterances", 1, styles="soft.bin")
    assert outcome.exit_code == 0
    assert outcome.output.count("left out: 0-00000") == 2
    assert Manifest.load(tmp_path / "manifest.json").clips == ()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--count", 0), ("--count", 10**6 + 1), ("--utterances", 0), ("--seed", -1), ("--seed", 2**32)],
)
def test_bad_options_are_refused_by_name(tmp_path: Path, files: Path, option: str, value: int) -> None:
    arguments = {"--count": 1, "--utterances": 1, "--seed": 0} | {option: value}
    outcome = prepare(tmp_path / "out", files, *(part for pair in arguments.items() for part in pair))
    assert outcome.exit_code == 2
    assert option in outcome.output

    class Silent:
        names: Sequence[str] = NAMES

        def speak(self, text: str, voice: Voice) -> NDArray[np.float32]:
            raise AssertionError(text)

    count, utterances, seed = arguments.values()
    with pytest.raises(ValueError, match=rf"{option[2:]}: expected a whole number, .* got {value}"):
        prepare_voices(tmp_path / "out", Silent(), {"es": ["Hola."]}, count=count, utterances=utterances, seed=seed)
    with pytest.raises(ValueError, match="texts: expected at least one language"):
        prepare_voices(tmp_path / "out", Silent(), {"es": []}, count=1, utterances=1)
    assert not (tmp_path / "out").exists()


def one_line(outcome: Result) -> str:
    assert outcome.exit_code == 1, outcome.output
    (line,) = outcome.output.splitlines()
    return line


def test_bad_files_are_named_in_one_line(tmp_path: Path, files: Path) -> None:
    (files / "damaged.bin").write_bytes(b"PK damaged")
    line = one_line(prepare(tmp_path / "out", files, "--count", 1, styles="damaged.bin"))
    assert "expected the model and the voices of Kokoro" in line
    assert "missing.bin" in one_line(prepare(tmp_path / "out", files, "--count", 1, styles="missing.bin"))
    (tmp_path / "latin.txt").write_bytes("Müller geht.".encode("latin-1"))
    line = one_line(prepare(tmp_path / "out", files, "--count", 1, "--text", f"de={tmp_path / 'latin.txt'}"))
    assert "latin.txt: expected text in UTF-8" in line
    (tmp_path / "empty.txt").write_text("\n 12 \n")
    with pytest.raises(ValueError, match=r"empty\.txt: expected sentences"):
        read_text(tmp_path / "empty.txt")
    outcome = prepare(tmp_path / "out", files, "--count", 1, "--text", "english.txt")
    assert outcome.exit_code == 2
    assert "expected LANGUAGE=FILE" in outcome.output
    assert not (tmp_path / "out").exists()


def test_another_file_of_the_name_is_not_overwritten(tmp_path: Path, files: Path) -> None:
    (tmp_path / "manifest.json").write_text("notes of mine")
    assert "not a manifest" in one_line(prepare(tmp_path, files, "--count", 1))
    assert (tmp_path / "manifest.json").read_text() == "notes of mine"
    with pytest.raises(ManifestError):
        Manifest.load(tmp_path / "manifest.json")


def test_a_missing_package_is_named_before_anything_is_written(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kokoro_onnx", None)
    assert one_line(prepare(tmp_path / "out", files, "--count", 1)) == (
        "Error: synthesized voices need the package kokoro-onnx: pip install 'lite-rtse-ext[voices]'"
    )
    assert not (tmp_path / "out").exists()
