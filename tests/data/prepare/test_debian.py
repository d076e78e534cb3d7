"""Debian's packages: small ones built here, and an apt that copies them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import soundfile as sf

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data import Manifest, ManifestError
from lite_rtse_ext.data.prepare.debian import noises as debian_noises
from lite_rtse_ext.data.prepare.debian import voices as debian_voices
from lite_rtse_ext.data.prepare.debian.apt import FetchError, fetch, unpack
from lite_rtse_ext.data.prepare.debian.packages import PACKAGES, TEST_NOISES
from lite_rtse_ext.data.prepare.sources import debian
from lite_rtse_ext.data.prepare.sources.debian import prepare_debian
from tests.data.prepare.corpus import RATE_HZ
from tests.data.prepare.packages import AMBIENCE, build, build_all

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb, which Debian has")


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small .deb for each package."""
    out = tmp_path_factory.mktemp("debs")
    build_all(out, tmp_path_factory.mktemp("scratch"))
    return out


@pytest.fixture(scope="module")
def prepared(debs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("prepared")
    prepare_debian(target, debs=debs, report=lambda line: None)
    return target


def test_speech_and_noise_go_to_their_splits(prepared: Path) -> None:
    manifest = Manifest.load(prepared / "manifest.json")
    counts = Counter((clip.kind, clip.split) for clip in manifest.clips if clip.kind == "speech")
    assert counts == {("speech", "train"): 4 * 14, ("speech", "valid"): 4, ("speech", "test"): 15}
    assert {clip.label for clip in manifest.select("speech", "test")} == {"ivrvoice"}
    assert {clip.label for clip in manifest.select("noise", "test")} == set(TEST_NOISES)
    train = {clip.label for clip in manifest.select("noise", "train")}
    assert train == set(AMBIENCE.split()) - set(TEST_NOISES) | {"music", "effects", "typing"}
    assert not any("quiet" in clip.path or "beep" in clip.path or "digits" in clip.path for clip in manifest.clips)


def test_held_out_noise_is_the_end_of_the_recording(prepared: Path) -> None:
    manifest = Manifest.load(prepared / "manifest.json")
    lengths = {(c.split, c.label): c.frames for c in manifest.clips if c.label in ("birds", "rain", "music")}
    assert lengths["valid", "birds"] == 6 * RATE_HZ
    assert lengths["train", "birds"] == 9 * RATE_HZ
    assert lengths["test", "rain"] == 15 * RATE_HZ
    assert ("train", "rain") not in lengths


def test_mixtures_spread_over_noises_and_snrs(prepared: Path) -> None:
    manifest = Manifest.load(prepared / "manifest.json")
    test = [mixture for mixture in manifest.mixtures if mixture.split == "test"]
    counts = Counter((mixture.label, mixture.snr_db) for mixture in test)
    assert counts == {(label, snr): 4 for label in TEST_NOISES for snr in (-5, 0, 5, 10, 15)}
    assert sum(mixture.split == "valid" for mixture in manifest.mixtures) == debian.VALID_MIXTURES


def test_every_file_has_its_license_and_source(prepared: Path) -> None:
    manifest = Manifest.load(prepared / "manifest.json")
    assert all(clip.license != "unknown" for clip in manifest.clips)
    assert {clip.source for clip in manifest.clips} == {f"Debian package {name}_1_all" for name in PACKAGES}
    for name in PACKAGES:
        assert (prepared / "licences" / f"{name}.txt").read_bytes() == b"somebody's\n"


def test_the_licenses_can_be_limited(debs: Path, prepared: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    shutil.copytree(prepared, target)
    lines: list[str] = []
    permissive = ("CC0*", "public domain", "CC-BY-[34]*")
    manifest = prepare_debian(target, debs=debs, only_license=permissive, report=lines.append)
    everything = Manifest.load(prepared / "manifest.json")
    assert manifest.clips == tuple(
        clip for clip in everything.clips if clip.license in ("CC0-1.0", "public domain", "CC-BY-3.0", "CC-BY-4.0")
    )
    assert {clip.label for clip in manifest.select("speech", "train")} == {"carlo"}
    assert any(line.startswith("left out: files with the licenses CC-BY-SA-3.0 (") for line in lines)
    assert len(manifest.fixed("test")) == len(everything.fixed("test"))
    with pytest.raises(ManifestError, match="no valid mixtures can be made: there is no speech"):
        prepare_debian(target, debs=debs, only_license=("CC0*",), report=lines.append)
    assert Manifest.load(target / "manifest.json") == manifest


def test_more_is_for_training_alone(debs: Path, prepared: Path, tmp_path: Path) -> None:
    target = tmp_path / "more"
    shutil.copytree(prepared, target)
    before, after = (
        Manifest.load(prepared / "manifest.json"),
        prepare_debian(target, more=True, debs=debs, report=lambda line: None),
    )
    assert after.mixtures == before.mixtures
    added = [clip for clip in after.clips if clip not in before.clips]
    assert {clip.split for clip in added} == {"train"}
    assert {clip.label: clip.license for clip in added if clip.kind == "speech"} == {
        "klettres-xx": "GPL-2.0-or-later",  # neither the noisy, the narrow-band, the Russian nor the few
        "gcin-zh": "CC-BY-3.0",
        "stamps-pt_BR": "GPL-2.0-only",  # neither the Russian names nor the sounds without a word
        "ktuberling-yy": "GPL-2.0-or-later",
        **{f"fillets-{voice}": "GPL-2.0-only" for voice in ("cs-m", "cs-v", "nl-m", "nl-v")},
        **{f"kajongg-{voice}": "GPL-2.0-or-later" for voice in ("male1", "de-male1")},
        "qabcs-yy": "GPL-3.0-or-later",
    }
    assert Counter(clip.label for clip in added if clip.kind == "speech") == {  # three words each
        "klettres-xx": 4,
        "ktuberling-yy": 2,
        "gcin-zh": 4,
        "stamps-pt_BR": 2,
        **{f"fillets-{language}-m": 2 for language in ("cs", "nl")},
        **{f"fillets-{language}-v": 1 for language in ("cs", "nl")},
        "kajongg-male1": 1,
        "kajongg-de-male1": 2,
        "qabcs-yy": 2,
    }
    assert {clip.path.rpartition("/")[2]: (clip.label, clip.license) for clip in added if clip.kind == "noise"} == {
        "bird0.flac": ("animals", "GPL-2.0-only"),  # the others are the same
        "kettle.flac": ("household", "GPL-2.0-only"),
        "tuba.flac": ("hobbies", "GPL-2.0-only"),
        "bear.flac": ("things", "GPL-3.0-or-later"),
        "Harbor1.flac": ("town", "GPL-2.0-or-later"),  # neither the railway, which the test has, nor the click
        "stall.flac": ("aircraft", "GPL-2.0-or-later"),
        "hh60-engine_inside.flac": ("aircraft", "GPL-2.0-or-later"),
        "spring-sounds-day.flac": ("outdoors-spring-sounds-day", "CC-BY-SA-3.0"),  # once; long, and so of its own kind
        "water1.flac": ("splashes", "CC-BY-SA-3.0"),
        "anvil1.flac": ("fights", "CC-BY-SA-3.0"),
        "misc-jet.flac": ("weapons", "GPL-2.0-or-later"),
        "misc-cows.flac": ("streets", "CC-BY-SA-3.0"),
        "environment-river_loop.flac": ("caves", "CC-BY-SA-3.0"),
        "crowd01.flac": ("stadium", "GPL-2.0-or-later"),
        "Wind.flac": ("steps", "CC-BY-SA-3.0"),
        "vinyl_hiss.flac": ("instruments", "CC0-1.0 AND MIT"),
        "bus.flac": ("transport", "Artistic-1.0"),
        "saw-sawing_00.flac": ("crafts", "GPL-2.0-or-later"),
    }
    for clip in added:
        samples, rate = sf.read(target / clip.path)
        assert (rate, len(samples)) == (RATE_HZ, clip.frames)
        if clip.kind == "speech":
            assert 4 * RATE_HZ <= len(samples) < 6 * RATE_HZ  # a word is a second long, and trimmed
        assert clip.source.startswith("Debian package ")
    assert {f"{name}.txt" for name in {**debian_voices.VOICE_PACKAGES, **debian_noises.NOISE_PACKAGES}} <= {
        path.name for path in (target / "licences").iterdir()
    }


def test_a_voice_that_has_much_to_say_is_cut_short(
    debs: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian_voices, "_MOST_CLIPS", 2)
    target = tmp_path / "more"
    shutil.copytree(prepared, target)
    manifest = prepare_debian(target, more=True, debs=debs, report=lambda line: None)
    assert Counter(c.label for c in manifest.clips if c.label.startswith("klettres")) == {"klettres-xx": 2}


def test_an_interrupted_run_goes_on(debs: Path, prepared: Path, tmp_path: Path) -> None:
    target = tmp_path / "again"
    shutil.copytree(prepared, target)
    (target / "packages" / "blanket.json").unlink()  # killed while it was decoded
    manifest = Manifest.load(prepared / "manifest.json")
    cut, gone = (target / clip.path for clip in manifest.select("noise", "valid")[:2])
    cut.write_bytes(cut.read_bytes()[:100])
    gone.unlink()
    lines: list[str] = []
    result = prepare_debian(target, debs=debs, report=lines.append)
    assert (target / "manifest.json").read_bytes() == (prepared / "manifest.json").read_bytes()
    assert all(target.joinpath(c.path).read_bytes() == prepared.joinpath(c.path).read_bytes() for c in result.clips)
    assert {line.split(":")[0] for line in lines} == {"blanket"}  # nothing else was done again


def test_what_other_rules_took_is_taken_anew(debs: Path, prepared: Path, tmp_path: Path) -> None:
    target = tmp_path / "older"
    shutil.copytree(prepared, target)
    path = target / "packages" / "blanket.json"
    record = json.loads(path.read_text())
    del record["rules"], record["clips"][1:]
    path.write_text(json.dumps(record))
    lines: list[str] = []
    prepare_debian(target, debs=debs, report=lines.append)
    assert {line.split(":")[0] for line in lines} == {"blanket"}
    assert (target / "manifest.json").read_bytes() == (prepared / "manifest.json").read_bytes()


DAMAGED = {
    "empty": "",
    "cut short": '{"package": ',
    "a list": "[]",
    "no clips": '{"rules": 2}',
    "clips of none": '{"rules": 2, "clips": []}',
    "null": '{"rules": 2, "clips": null}',
    "an unknown field": '{"rules": 2, "clips": [{"colour": "red"}]}',
    "a path that leaves": '{"rules": 2, "clips": [{"kind": "noise", "split": "train", "path": "../x", "frames": 1}]}',
    "too deep": "[" * 100_000,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_record_counts_as_not_done(debs: Path, prepared: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "damaged"
    shutil.copytree(prepared, target)
    path = target / "packages" / "bucklespring-data.json"
    path.write_text(DAMAGED[kind])
    lines: list[str] = []
    prepare_debian(target, debs=debs, report=lines.append)
    assert (target / "manifest.json").read_bytes() == (prepared / "manifest.json").read_bytes()
    assert path.read_bytes() == (prepared / "packages" / path.name).read_bytes()
    assert all("bucklespring-data" in line for line in lines)
    assert any("damaged, so that" in line for line in lines) == (kind not in ("clips of none",))


def test_packages_are_unpacked_within_bounds(debs: Path, tmp_path: Path) -> None:
    archive = debs / "bucklespring-data_1_all.deb"
    unpack(archive, "bucklespring-data", tmp_path / "a")
    size = sum(path.stat().st_size for path in (tmp_path / "a").rglob("*") if path.is_file())
    unpack(archive, "bucklespring-data", tmp_path / "b", most_bytes=size)
    with pytest.raises(FetchError, match=rf"_1_all\.deb: .*it holds more than {size - 1} bytes"):
        unpack(archive, "bucklespring-data", tmp_path / "c", most_bytes=size - 1)
    with pytest.raises(FetchError, match="it is the package bucklespring-data, not blanket"):
        unpack(archive, "blanket", tmp_path / "d")


def test_links_out_of_a_package_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: links\nVersion: 1\nArchitecture: all\nMaintainer: me <a@b.c>\nDescription: links\n"
    )
    (tree / "own").write_text("own")
    (tree / "inside").symlink_to("own")
    (tree / "absolute").symlink_to(tmp_path / "secret")
    (tree / "above").symlink_to("../../../../../../secret")
    subprocess.run(["dpkg-deb", "--build", str(tree), str(tmp_path / "links.deb")], check=True, capture_output=True)
    unpack(tmp_path / "links.deb", "links", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"own", "inside"}


def test_a_finished_run_needs_no_packages(prepared: Path, tmp_path: Path) -> None:
    before = (prepared / "manifest.json").read_bytes()
    prepare_debian(prepared, debs=tmp_path / "nowhere", report=lambda line: None)
    assert (prepared / "manifest.json").read_bytes() == before


def test_missing_and_damaged_packages_are_named(debs: Path, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"has no \.deb of asterisk-core-sounds-en-g722, "):
        prepare_debian(tmp_path / "a", debs=tmp_path, report=lambda line: None)
    assert not (tmp_path / "a").exists()
    own = tmp_path / "debs"
    shutil.copytree(debs, own)
    archive = own / "asterisk-core-sounds-en-g722_1_all.deb"
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(FetchError, match=r"en-g722_1_all\.deb: damaged"):
        prepare_debian(tmp_path / "b", debs=own, report=lambda line: None)


def test_a_package_without_the_sounds_it_should_have_is_named(debs: Path, prepared: Path, tmp_path: Path) -> None:
    own = tmp_path / "debs"
    shutil.copytree(debs, own)
    build("bucklespring-data", {"usr/share/buckle/README": b""}, own)
    with pytest.raises(AudioError, match=r"bucklespring-data_1_all\.deb: holds none of the sounds"):
        prepare_debian(tmp_path / "c", debs=own, report=lambda line: None)
    build("simutrans-pak64", {"usr/share/games/simutrans/pak.zip": b""}, own)
    shutil.copytree(prepared, tmp_path / "d")
    with pytest.raises(AudioError, match=r"simutrans/pak/sound: neither under usr/share nor under usr/share/games"):
        prepare_debian(tmp_path / "d", more=True, debs=own, report=lambda line: None)
    build("simutrans-pak64", {"usr/share/games/simutrans/pak/sound/README": b""}, own)
    with pytest.raises(AudioError, match=r"simutrans/pak/sound: has no sounds in it"):
        prepare_debian(tmp_path / "d", more=True, debs=own, report=lambda line: None)


APT_GET = """#!/bin/sh
echo "$@" >> "$APT_LOG"
case "$*" in
  *indextargets*) echo "http://mirror.example/debian Debian";;
  *download*) for name; do :; done; cp "$APT_DEBS/$name"_1_all.deb . ;;
esac
"""
APT_CACHE = """#!/bin/sh
for name; do :; done
[ "$name" != blanket ] && echo "Package: $name"
"""


@pytest.fixture
def apt_log(tmp_path: Path, debs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt that copies packages; it knows blanket only in the newer release. The file says what it was asked."""
    tools, log = tmp_path / "bin", tmp_path / "apt.log"
    tools.mkdir()
    for name, script in (("apt-get", APT_GET), ("apt-cache", APT_CACHE)):
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("APT_LOG", str(log))
    monkeypatch.setenv("APT_DEBS", str(debs))
    return log


def test_apt_fetches_what_is_missing(apt_log: Path, tmp_path: Path) -> None:
    names = ["bucklespring-data", "blanket"]
    found = fetch(names, tmp_path / "deb", suite="newer", report=lambda line: None)
    assert {name: path.name for name, path in found.items()} == {name: f"{name}_1_all.deb" for name in names}
    asked = apt_log.read_text().splitlines()
    assert sum("update" in line for line in asked) == 2
    assert all(f"Dir::State::lists={tmp_path}/deb/apt" in line for line in asked)
    assert sorted(path.name for path in (tmp_path / "deb").iterdir()) == sorted(path.name for path in found.values())
    apt_log.unlink()
    assert fetch(names, tmp_path / "deb", report=lambda line: None) == found
    assert not apt_log.exists()


def test_what_apt_says_is_passed_on(apt_log: Path, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="apt-get failed: cp: "):
        fetch(["no-such-package"], tmp_path / "deb", report=lambda line: None)


def test_an_empty_catalogue_entry_is_no_fault(prepared: Path) -> None:
    manifest = Manifest.load(prepared / "manifest.json")
    assert [clip.path for clip in manifest.clips if clip.label == "effects"] == ["noise/train/effects/00.flac"]
