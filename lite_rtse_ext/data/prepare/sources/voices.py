"""``lite-rtse prepare voices``: speech of synthesized voices, for training.

The package ``kokoro-onnx`` synthesizes it with the text-to-speech network Kokoro-82M (hexgrad, Apache-2.0). A style
array describes each of its voices, and the average of two styles is a further voice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click
import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.resampling import resample
from lite_rtse_ext.data.manifest import Clip, Manifest
from lite_rtse_ext.data.prepare.command import ADDED_TO, summarize
from lite_rtse_ext.data.prepare.convert import complete_frames, write_flac
from lite_rtse_ext.data.prepare.made import MOST_COUNT, MOST_SEED, manifest_before, require_limits, save_made
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.new_folder import new_folder
from lite_rtse_ext.utils.path_name import PathName

__all__ = ["FOLDER", "Kokoro", "Synthesizer", "Voice", "draw_voice", "prepare_voices", "read_text", "voices"]

FOLDER = "speech/synthesized"
"""Where the speech is, below the folder of the manifest."""

_OWN_LANGUAGE = {
    "a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "j": "ja", "p": "pt-br", "z": "cmn",
}  # fmt: skip
"""Language of a voice, by the first letter of its name. The second letter is f or m, the gender."""

_OWN_LANGUAGE_PROB = 0.8
_SHARE, _SPEED = (0.35, 0.65), (0.8, 1.2)
_LEAST_CHARACTERS = 110
"""Characters of an utterance, which takes about 8 s. Sentences are added until it has them."""

_LEAST_PEAK = 0.02
_REPORT_EVERY = 100
_Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Voice:
    """A voice: the weighted average of the styles of two voices, or one of them.

    Args:
        names: the two voices. They are equal for a voice of its own.
        share: weight of the first.
        language: language that it reads, by espeak's name.
        speed: rate of speaking. 1 is the usual rate.
    """

    names: tuple[str, str]
    share: float
    language: str
    speed: float

    @property
    def label(self) -> str:
        """Name of the voice in the manifest."""
        first, second = self.names
        return first if first == second else f"{first}+{second} {self.share:.2f}"


class Synthesizer(Protocol):
    """Speaks text with named voices."""

    names: Sequence[str]

    def speak(self, text: str, voice: Voice) -> _Samples:
        """Return the speech, ``(samples,)``, float32 at 16 kHz.

        Raises:
            ValueError: there is nothing to speak in this text.
        """


class Kokoro:
    """Kokoro-82M in ONNX Runtime, by the package kokoro-onnx.

    Args:
        model: the network, ``kokoro-v1.0.onnx`` or one of its smaller forms.
        styles: the styles of its voices, ``voices-v1.0.bin``, which is a NumPy archive.

    Raises:
        ImportError: the package kokoro-onnx is not installed.
        OSError: a file can't be read.
        ValueError: a file is not what it must be.
    """

    def __init__(self, model: Path, styles: Path) -> None:
        for path in (model, styles):
            path.open("rb").close()
        library = _library()
        try:
            self._network = library.Kokoro(str(model), str(styles))
            self._styles: Mapping[str, _Samples] = self._network.voices
            self.names: Sequence[str] = sorted(self._styles)
        except Exception as error:  # ONNX Runtime and NumPy raise errors of their own kinds
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"expected the model and the voices of Kokoro, got {model} and {styles} ({reason})"
            ) from error

    def speak(self, text: str, voice: Voice) -> _Samples:
        """Return the speech, ``(samples,)``, float32 at 16 kHz."""
        first, second = (self._styles[name] for name in voice.names)
        style = voice.share * first + (1 - voice.share) * second
        samples, rate_hz = self._network.create(
            text, style.astype(np.float32), speed=voice.speed, lang=voice.language, trim=False
        )
        return resample(np.asarray(samples, np.float32), rate_hz, SAMPLE_RATE_HZ)


@dataclass(frozen=True)
class _Task:
    number: int
    voice: Voice
    text: str
    path: Path


def prepare_voices(
    target: Path,
    synthesizer: Synthesizer,
    texts: Mapping[str, Sequence[str]],
    *,
    count: int,
    utterances: int,
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> Manifest:
    """Synthesize speech, write it as FLAC files at 16 kHz, and add it to the manifest in a folder.

    The folder may hold data that another source prepared. Its manifest keeps all its other entries. Synthesized speech
    of an earlier call is replaced. Files that exist are kept, so the same call continues an interrupted one. All speech
    is for training. The first utterance of all voices is made first, then the second.

    Args:
        target: the folder. It is created if it doesn't exist.
        synthesizer: what speaks.
        texts: sentences by language, under espeak's names such as ``en-us``.
        count: number of voices, 1 to 1,000,000. Those beyond the synthesizer's own are averages of two.
        utterances: number of utterances of each voice, of about 8 s, 1 to 1,000,000.
        seed: seed of all draws, 0 to 2^32 - 1.
        report: function that is called with one line about the progress and about each utterance left out.

    Returns:
        The manifest that was written.

    Raises:
        ValueError: a number is outside its limits, or there is no text.
        RuntimeError: the synthesizer does not know a language.
        OSError: a file can't be read or written.
        ManifestError: the folder holds a file manifest.json that is not a manifest.
    """
    require_limits(seed, count=count, utterances=utterances)
    if not texts or not all(texts.values()):
        raise ValueError("texts: expected at least one language, and sentences for each, got none")
    before = manifest_before(target, "voices")
    folder = target / FOLDER
    clips = []
    with new_folder(folder):
        for task in _tasks(folder, synthesizer, texts, count, utterances, seed):
            frames = complete_frames(task.path) or _write(task, synthesizer, report)
            if frames:
                clips.append(_clip(task, frames))
            if (task.number + 1) % _REPORT_EVERY == 0 or task.number + 1 == count * utterances:
                report(f"{task.number + 1} of {count * utterances} utterances")
    return save_made(before, FOLDER, clips)


def draw_voice(seed: int, number: int, names: Sequence[str], languages: Sequence[str]) -> Voice:
    """Draw a voice, its language and its speed.

    The first voices are those of the synthesizer, in order. Every further voice is the average of two of one gender.

    Args:
        seed: seed of the draw.
        number: number of the voice, from 0.
        names: the synthesizer's voices.
        languages: languages that there is text of. Four of five voices read their own, if it is among them.
    """
    random = np.random.default_rng((seed, number))
    if number < len(names):
        first = second = names[number]
    else:
        first = str(random.choice(names))
        others = [name for name in names if name != first and name[1:2] == first[1:2]]
        second = str(random.choice(others)) if others else first
    own = _OWN_LANGUAGE.get(first[:1], "")
    language = own if own in languages and random.random() < _OWN_LANGUAGE_PROB else str(random.choice(languages))
    return Voice((first, second), float(random.uniform(*_SHARE)), language, float(random.uniform(*_SPEED)))


def read_text(path: Path) -> list[str]:
    """Read sentences, one a line.

    Args:
        path: a text file in UTF-8. Empty lines are ignored.

    Raises:
        OSError: the file can't be read.
        ValueError: the file is not UTF-8, or has no line with a letter.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8 ({error.reason} at byte {error.start})") from error
    sentences = [line for line in lines if any(map(str.isalpha, line))]
    if not sentences:
        raise ValueError(f"{path}: expected sentences, one a line, got none")
    return sentences


def _tasks(
    folder: Path,
    synthesizer: Synthesizer,
    texts: Mapping[str, Sequence[str]],
    count: int,
    utterances: int,
    seed: int,
) -> Iterator[_Task]:
    languages = sorted(texts)
    for number in range(count * utterances):
        utterance, which = divmod(number, count)
        voice = draw_voice(seed, which, synthesizer.names, languages)
        random = np.random.default_rng((seed, which, utterance))
        text, sentences = texts[voice.language], list[str]()
        while sum(map(len, sentences)) < _LEAST_CHARACTERS:
            sentences.append(text[int(random.integers(len(text)))])
        yield _Task(number, voice, " ".join(sentences), folder / f"{seed}-{which:06}-{utterance:06}.flac")


def _write(task: _Task, synthesizer: Synthesizer, report: Callable[[str], None]) -> int:
    """Synthesize and write an utterance. Return its length in samples, or 0 if it is left out."""
    try:
        samples = synthesizer.speak(task.text, task.voice)
    except ValueError as error:
        report(f"left out: {task.path.name}: {error}")
        return 0
    peak = float(np.abs(samples).max(initial=0.0))
    if not _LEAST_PEAK <= peak < np.inf:
        report(f"left out: {task.path.name}: has a peak of {peak:.2g}")
        return 0
    write_flac(task.path, samples)
    return len(samples)


def _clip(task: _Task, frames: int) -> Clip:
    source = f"kokoro-onnx, {task.voice.language}, speed {task.voice.speed:.2f}"
    return Clip("speech", "train", f"{FOLDER}/{task.path.name}", frames, task.voice.label, "Apache-2.0", source)


def _library() -> Any:
    try:
        import kokoro_onnx
    except ImportError as error:
        raise ImportError(
            "synthesized voices need the package kokoro-onnx: pip install 'lite-rtse-ext[voices]'"
        ) from error
    return kokoro_onnx


def _texts(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> dict[str, Path]:
    texts = {}
    for value in values:
        language, equals, name = value.partition("=")
        if not language or not name or not equals:
            raise click.BadParameter(f"expected LANGUAGE=FILE, such as en-us=english.txt, got {value!r}")
        texts[language] = Path(name)
    return texts


@click.command()
@ADDED_TO
@click.option("--model", type=PathName(), required=True, help="The network, kokoro-v1.0.onnx.")
@click.option("--styles", type=PathName(), required=True, help="Its voices, voices-v1.0.bin.")
@click.option(
    "--text",
    "texts",
    multiple=True,
    required=True,
    callback=_texts,
    metavar="LANGUAGE=FILE",
    help="Sentences to read, one a line; may be given several times.",
)
@click.option("--count", type=click.IntRange(1, MOST_COUNT), required=True, help="Number of voices.")
@click.option(
    "--utterances", type=click.IntRange(1, MOST_COUNT), default=6, show_default=True, help="Of each, of about 8 s."
)
@click.option(
    "--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True, help="Another one, other voices."
)
def voices(
    target: Path, model: Path, styles: Path, texts: Mapping[str, Path], count: int, utterances: int, seed: int
) -> None:
    """Synthesized voices for training, added to the manifest of a prepared folder.

    Needs the extra `voices` and two files of Kokoro-82M. A second of speech takes about a third of a second. The
    network has 54 voices; further ones are averages of two. LANGUAGE is espeak's name, such as en-us, en-gb, es, it.

    \b
    lite-rtse prepare voices --model kokoro-v1.0.onnx --styles voices-v1.0.bin \\
        --text en-us=english.txt --text es=spanish.txt --count 160 --out mine
    """
    sentences = {language: read_text(path) for language, path in texts.items()}
    manifest = prepare_voices(
        target, Kokoro(model, styles), sentences, count=count, utterances=utterances, seed=seed, report=click.echo
    )
    summarize(manifest)
