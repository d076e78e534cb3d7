"""A collection that a table describes."""

from __future__ import annotations

import csv
import shutil
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from click.testing import CliRunner

from lite_rtse_ext.cli import main
from lite_rtse_ext.data import Manifest, ManifestError
from lite_rtse_ext.data.check import check_files
from lite_rtse_ext.data.dataset import FixedExamples, TrainingExamples
from lite_rtse_ext.data.mixing import MixingOptions
from lite_rtse_ext.data.prepare.sources.collection import CollectionOptions, prepare_collection
from lite_rtse_ext.data.prepare.splits import Shares
from tests.data.prepare.recordings import noise, put, voice

COLUMNS = ["path", "kind", "source", "speaker", "language", "gender", "label", "minutes", "license", "snr_db"]


def write_table(folder: Path, rows: list[dict[str, str]], columns: list[str] = COLUMNS) -> None:
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def rows() -> list[dict[str, str]]:
    """Twelve men and twelve women with two recordings each, one of whom speaks Russian; 30 noises, a room."""
    found = []
    for number in range(24):
        gender, language = "fm"[number % 2], "ru" if number == 5 else "en"
        for n in range(2):
            row = {"path": f"speech/{number}/{n}.wav", "kind": "speech", "source": "words", "gender": gender}
            found.append({**row, "speaker": f"words/{number}", "language": language, "license": "CC0-1.0"})
    for number in range(30):
        label = ("rain", "heavyrain", "fan", "eat (vocal/human)", "train")[number % 5]
        path = f"noise/{label.split()[0]}/fs{number // 2}-{number}.wav"  # two files of each recording
        found.append({"path": path, "kind": "noise", "source": "sounds", "label": label, "license": "CC BY 4.0"})
    return [*found, {"path": "rir/hall.flac", "kind": "rir", "source": "rooms", "label": "hall"}]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the table."""
    root = tmp_path_factory.mktemp("recordings")
    for seed, row in enumerate(rows()):
        put(root / row["path"], voice(2.5, seed) if row["kind"] == "speech" else noise(2.5, seed))
    return root


@pytest.fixture
def folder(recordings: Path, tmp_path: Path) -> Path:
    shutil.copytree(recordings, tmp_path, dirs_exist_ok=True)
    write_table(tmp_path, rows())
    return tmp_path


def prepare(folder: Path, **options: object) -> tuple[Manifest, str]:
    lines: list[str] = []
    made = prepare_collection(
        folder / "out",
        folder,
        options=CollectionOptions(**options),  # type: ignore[arg-type]
        report=lines.append,
    )
    assert Manifest.load(folder / "out" / "manifest.json") == made
    return made, "\n".join(lines)


def test_validation_has_unseen_speakers_and_noises_only(folder: Path) -> None:
    manifest, said = prepare(folder)
    assert len(manifest.clips) == len(rows())
    assert check_files(manifest) == {}
    splits = defaultdict(set)
    for clip in manifest.clips:
        if clip.kind == "speech":
            splits[clip.label].add(clip.split)
        if clip.kind == "noise":
            splits[clip.path.split("/")[-1].split("-")[0]].add(clip.split)
    assert all(len(own) == 1 for own in splits.values())
    assert {clip.split for clip in manifest.clips if clip.kind == "room"} == {"train"}
    assert all(len(manifest.fixed(split)) == 60 for split in ("valid", "test"))
    assert "recordings of noise: " in said
    TrainingExamples(manifest, MixingOptions(seconds=1.0), seed=0)
    assert (FixedExamples(manifest, "valid")[0].noisy.std() > 0).item()


def test_each_gender_judges_and_no_speaker_more_than_another(folder: Path) -> None:
    manifest, _ = prepare(folder, shares=Shares(0.2, 0.0), mixtures=40)
    heard = Counter(mixture.speech.split("/")[2] for mixture in manifest.fixed("valid"))
    assert {int(speaker) % 2 for speaker in heard} == {0, 1}
    assert max(heard.values()) - min(heard.values()) <= 2
    assert manifest.fixed("test") == []


def test_what_is_left_out_is_in_no_split(folder: Path) -> None:
    manifest, said = prepare(folder, leave_out=("rain", "?*rain", "ru", "nothing"))
    assert {clip.label for clip in manifest.clips if clip.kind == "noise"} == {"fan", "eat (vocal/human)"}
    assert "words/5" not in {clip.label for clip in manifest.clips}
    assert "12 rows with a label, speaker or language like ?*rain" in said
    assert "0 rows with a label, speaker or language like nothing" in said


LICENSES = {"speech": ("CC0-1.0", "CC BY 4.0", "GPL-3.0-only"), "noise": ("CC BY 3.0", "CC BY-SA 4.0", "")}


def licensed() -> list[dict[str, str]]:
    """The rows with three licenses for each kind, by speaker and by recording."""
    found = rows()
    for number, row in enumerate(found):
        some = LICENSES.get(row["kind"], ("MIT",))
        row["license"] = some[number // 2 % len(some)]
    return found


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("CC0*", "CC BY [34]*"), {"CC0-1.0", "CC BY 4.0", "CC BY 3.0"}),
        (("CC*", "MIT"), {"CC0-1.0", "CC BY 4.0", "CC BY 3.0", "CC BY-SA 4.0", "MIT"}),
        (("gpl*", "Unknown"), {"GPL-3.0-only", "unknown"}),
        ((), {"CC0-1.0", "CC BY 4.0", "GPL-3.0-only", "CC BY 3.0", "CC BY-SA 4.0", "unknown", "MIT"}),
    ],
)
def test_only_the_licenses_asked_for_are_used(folder: Path, patterns: tuple[str, ...], expected: set[str]) -> None:
    write_table(folder, licensed())
    manifest, said = prepare(folder, only_license=patterns)
    assert {clip.license for clip in manifest.clips} == expected
    for pattern in patterns:
        count = sum(fnmatchcase((row["license"] or "unknown").lower(), pattern.lower()) for row in licensed())
        assert f"kept: {count} files with a license like {pattern}\n" in said
    for license in {row["license"] or "unknown" for row in licensed()} - expected:
        assert f"{license} (" in said
    used = {mixture.speech for mixture in manifest.mixtures} | {mixture.noise for mixture in manifest.mixtures}
    assert used <= {clip.path for clip in manifest.clips}


def test_a_license_that_nothing_has_is_an_error_that_names_those_there_are(folder: Path) -> None:
    write_table(folder, licensed())
    with pytest.raises(
        ManifestError, match=r"only_license: expected patterns of .*GPL-3\.0-only \(16\).*, got \['nothing\*'\]"
    ):
        prepare(folder, only_license=("nothing*",))
    with pytest.raises(ManifestError, match="holds no recording of noise"):
        prepare(folder, only_license=("CC0*",))


def test_the_column_of_licenses_has_either_spelling(folder: Path) -> None:
    columns = ["licence" if column == "license" else column for column in COLUMNS]
    write_table(
        folder, [{("licence" if key == "license" else key): row[key] for key in row} for row in rows()], columns
    )
    manifest, _ = prepare(folder)
    assert {clip.license for clip in manifest.clips} == {"CC0-1.0", "CC BY 4.0", "unknown"}


def test_sources_and_licenses_are_kept(folder: Path) -> None:
    manifest, _ = prepare(folder)
    assert {(clip.kind, clip.source, clip.license) for clip in manifest.clips} == {
        ("speech", "words", "CC0-1.0"),
        ("noise", "sounds", "CC BY 4.0"),
        ("room", "rooms", "unknown"),
    }


def test_files_that_are_missing_or_listed_twice_are_named(folder: Path) -> None:
    (folder / "noise" / "fan" / "fs1-2.wav").unlink()
    write_table(folder, [*rows(), rows()[0]])
    manifest, said = prepare(folder)
    assert len(manifest.clips) == len(rows()) - 1
    assert "fs1-2.wav: no such file" in said
    assert "speech/0/0.wav is listed twice" in said


def test_empty_rows_are_passed_over(folder: Path) -> None:
    expected, _ = prepare(folder)
    write_table(folder, [{}, *rows(), {"path": " "}, {}])
    assert prepare(folder)[0] == expected


def test_few_speakers_and_noises_are_enough(folder: Path) -> None:
    write_table(folder, [row for row in rows() if row["path"] in ("speech/1/0.wav", "noise/rain/fs0-0.wav")])
    manifest, said = prepare(folder, mixtures=3)
    assert len(manifest.fixed("valid")) == len(manifest.fixed("test")) == 3
    assert "1 speakers are too few for 3 splits" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "music"}, r"manifest\.csv:2: kind: expected one of speech, noise, rir, got 'music'"),
        ({"path": "../x.wav"}, r"manifest\.csv:2: path: expected a path"),
        ({"path": ""}, r"manifest\.csv:2: path: expected a path"),
        ({"path": "/etc/passwd"}, r"manifest\.csv:2: path: expected a path"),
    ],
)
def test_rows_with_faults_are_named(folder: Path, change: dict[str, str], message: str) -> None:
    write_table(folder, [{**rows()[0], **change}, *rows()[1:]])
    with pytest.raises(ManifestError, match=message):
        prepare(folder)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe,\n", b'path,kind\n"a,speech\n', b"path,kind\n"])
def test_other_tables_are_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.csv").write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        prepare(folder)
    assert str(folder) in str(caught.value)


def test_the_command(folder: Path) -> None:
    arguments = ["prepare", "collection", str(folder), "--leave-out", "*rain", "--out", str(folder / "out")]
    outcome = CliRunner().invoke(main, [*arguments, "--mixtures", "5"])
    assert outcome.exit_code == 0, outcome.output
    assert "test:  speech" in outcome.output
    assert "5 fixed mixtures" in outcome.output
    licenses = ["--only-license", "CC0*", "--only-license", "CC BY [34]*"]
    outcome = CliRunner().invoke(main, [*arguments, "--mixtures", "5", *licenses])
    assert outcome.exit_code == 0, outcome.output
    assert "kept: 48 files with a license like CC0*" in outcome.output
    assert "left out: files with the licenses unknown (1)" in outcome.output
    outcome = CliRunner().invoke(main, [*arguments, "--only-license", "free"])
    assert outcome.exit_code == 1
    assert outcome.output.splitlines()[-1].startswith("Error: only_license: expected patterns of CC0-1.0 (48)")
    (folder / "manifest.csv").unlink()
    outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 1
    assert "manifest.csv: No such file" in outcome.output.splitlines()[-1]
