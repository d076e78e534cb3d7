"""Small packages like those that ``prepare debian`` takes, for tests without a network."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import soundfile as sf

from lite_rtse_ext.data.prepare.debian.packages import PACKAGES
from tests.data.prepare.corpus import RATE_HZ, clip_samples
from tests.data.prepare.test_containers import catalogue, gresource
from tests.data.prepare.test_convert import write_g722

AMBIENCE = (
    "birds boat city coffee-shop fireplace pink-noise rain storm stream summer-night train waves white-noise wind"
)


def encoded(samples: np.ndarray, folder: Path, suffix: str) -> bytes:
    path = folder / f"sound{suffix}"
    sf.write(path, samples, RATE_HZ)
    return path.read_bytes()


def build(name: str, files: dict[str, bytes], out: Path) -> None:
    """A .deb with these files and a statement of its license."""
    root = out / f"{name}.root"
    files = {
        **files,
        f"usr/share/doc/{name}/copyright": b"somebody's\n",
        "DEBIAN/control": f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n".encode(),
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    command = ["dpkg-deb", "--build", "--root-owner-group", "-Znone", str(root), str(out / f"{name}_1_all.deb")]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(root)


def prompts(folder: Path) -> dict[str, bytes]:
    """Fifteen utterances, and what has to be left out: digits, beeps, silence, the short and the empty."""
    voice = clip_samples("it-dir-instr")[: 3 * RATE_HZ]
    write_g722(folder / "voice.g722", voice)
    write_g722(folder / "short.g722", voice[: RATE_HZ // 2])
    write_g722(folder / "silent.g722", np.zeros(2 * RATE_HZ, np.float32))
    speech, short, silent = (folder.joinpath(f"{n}.g722").read_bytes() for n in ("voice", "short", "silent"))
    sounds = "usr/share/asterisk/sounds/xx"
    return {
        **{f"{sounds}/vm-{number:02}.g722": speech for number in range(14)},
        f"{sounds}/letters/a.g722": speech,
        f"{sounds}/digits/1.g722": speech,
        f"{sounds}/silence/1.g722": speech,
        f"{sounds}/beep.g722": speech,
        f"{sounds}/vm-2tone.g722": speech,
        f"{sounds}/confbridge-leave-all.g722": speech,
        f"{sounds}/brief.g722": short,
        f"{sounds}/quiet.g722": silent,
        f"{sounds}/nothing.g722": b"",
    }


def words(folder: Path) -> dict[str, dict[str, bytes]]:
    """Packages of words: a clean voice, a noisy, a narrow-band and a Russian one, one of few words; syllables; names,
    two languages in one folder, with effects and an empty file between them; dialogues of two actors; a game's calls by
    two voices; primers with noises beside them."""
    voice = np.pad(clip_samples("it-dir-instr")[4000 : 4000 + RATE_HZ], RATE_HZ // 2)
    noisy = voice + np.random.default_rng(1).normal(0, 0.02, len(voice)).astype(np.float32)
    clean, hissing = encoded(voice, folder, ".ogg"), encoded(noisy, folder, ".ogg")
    sf.write(folder / "narrow.wav", voice[::2], RATE_HZ // 2)
    narrow = (folder / "narrow.wav").read_bytes()
    empty = encoded(voice[:0], folder, ".wav")
    letters, sounds = "usr/share/klettres", "usr/share/ktuberling/sounds"
    tiles, primers = "usr/share/kajongg/voices", "usr/share/qabcs/abcs"
    stamps, scenes = "usr/share/tuxpaint/stamps", "usr/share/games/fillets-ng/sound"
    return {
        "klettres-data": {
            **{f"{letters}/xx/alpha/{number:03}.ogg": clean for number in range(12)},
            **{f"{letters}/ru/alpha/{number:03}.ogg": clean for number in range(12)},
            **{f"{letters}/few/alpha/{number:03}.ogg": clean for number in range(2)},
            f"{letters}/pics/letter.png": b"",
        },
        "ktuberling-data": {
            **{f"{sounds}/loud/{number:03}.ogg": hissing for number in range(12)},
            **{f"{sounds}/thin/{number:03}.wav": narrow for number in range(12)},
            **{f"{sounds}/yy/{number:03}.ogg": clean for number in range(6)},
            f"{sounds}/yy/words.xml": b"",
        },
        "gcin-voice": {f"usr/share/gcin-voice/ogg/{number:03}/5.ogg": clean for number in range(36)},
        "tuxpaint-stamps-default": {
            **{f"{stamps}/animals/bird{number}_desc_pt_BR.ogg": clean for number in range(6)},
            **{f"{stamps}/animals/bird{number}_desc_ru.ogg": clean for number in range(6)},
            **{f"{stamps}/animals/bird{number}.ogg": clean for number in range(6)},
            f"{stamps}/household/kettle_desc.ogg": clean,  # its English name
            f"{stamps}/household/kettle.ogg": hissing,
            f"{stamps}/hobbies/tuba.ogg": hissing,
        },
        **{
            f"fillets-ng-data-{language}": {
                **{f"{scenes}/cave/{language}/cav-m-line{number}.ogg": clean for number in range(6)},
                **{f"{scenes}/cave/{language}/cav-v-line{number}.ogg": clean for number in range(3)},
                **{f"{scenes}/cave/{language}/cav-x-crab{number}.ogg": clean for number in range(6)},
                f"{scenes}/cave/{language}/cav-m-empty.ogg": empty,
            }
            for language in ("cs", "nl")
        },
        "kajongg": {
            **{f"{tiles}/male1/{number}.ogg": clean for number in range(3)},
            **{f"{tiles}/de/male1/{number}.ogg": clean for number in range(6)},
            f"{tiles}/de/male1/COPYRIGHT": b"",
        },
        "qabcs-data": {
            **{f"{primers}/yy/sounds/alpha/{number}.ogg": clean for number in range(2)},
            **{f"{primers}/yy/sounds/words/{number}.ogg": clean for number in range(4)},
            **{f"{primers}/ru/sounds/words/{number}.ogg": clean for number in range(6)},
            f"{primers}/all/sounds/applause.ogg": clean,
            f"{primers}/all/noises/bear.ogg": hissing,
        },
    }


def noises(folder: Path) -> dict[str, dict[str, bytes]]:
    """Packages of noise; among it a click, noises of the test, voices, music and what is no sound."""
    random = np.random.default_rng(0)

    def hiss(seconds: float) -> bytes:
        return encoded(random.normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32), folder, ".wav")

    whole, click, long = hiss(1), hiss(0.1), hiss(8)
    glest, scorched = "usr/share/games/megaglest", "usr/share/games/scorched3d/data/globalmods"
    return {
        "lincity-ng-data": {  # as later releases of Debian have it, not under games
            "usr/share/lincity-ng/sounds/Harbor1.wav": whole,
            "usr/share/lincity-ng/sounds/RailTrain1.wav": whole,
            "usr/share/lincity-ng/sounds/Click.wav": click,
            "usr/share/lincity-ng/sounds/sounds.xml": b"",
        },
        "searchandrescue-data": {
            "usr/share/games/searchandrescue/sounds/stall.wav": whole,
            "usr/share/games/searchandrescue/sounds/hh60/engine_inside.wav": hiss(2),
            "usr/share/games/searchandrescue/music/menus.wav": whole,
        },
        "megaglest-data": {
            f"{glest}/tilesets/spring/sounds/day.wav": long,
            f"{glest}/tilesets/winter/sounds/day.wav": long,
            f"{glest}/tilesets/winter/sounds/rain.wav": hiss(2),
            f"{glest}/data/core/water_sounds/water1.wav": whole,
            f"{glest}/techs/megapack/commondata/sounds/anvil1.wav": whole,
            f"{glest}/techs/megapack/commondata/sounds/archer_ack1.wav": hiss(1),
        },
        "scorched3d-data": {
            f"{scorched}/none/data/wav/misc/jet.wav": whole,
            f"{scorched}/apoc/data/wav/misc/cows.wav": whole,
            f"{scorched}/apoc/data/wav/misc/scream1.wav": hiss(1),
        },
        "flare-game": {
            "usr/share/games/flare/mods/fantasycore/soundfx/environment/river_loop.wav": whole,
            "usr/share/games/flare/mods/fantasycore/soundfx/npcs/female_merchant_01.wav": hiss(1),
        },
        "etw-data": {
            "usr/share/games/etw/crowd/crowd01.wav": whole,
            "usr/share/games/etw/snd/letsgo.wav": hiss(1),
        },
        "lugaru-data": {
            "usr/share/games/lugaru/Sounds/Wind.wav": whole,
            "usr/share/games/lugaru/Sounds/Music2.wav": hiss(1),
        },
        "sonic-pi-samples": {"usr/share/sonic-pi/samples/vinyl_hiss.wav": whole},
        "simutrans-pak64": {
            "usr/share/games/simutrans/pak/sound/bus.wav": whole,
            "usr/share/games/simutrans/pak/sound/steam.wav": hiss(1),
        },
        "widelands-data": {
            "usr/share/games/widelands/data/sound/saw/sawing_00.wav": whole,
            "usr/share/games/widelands/data/sound/barbarians/taverns/inn_00.wav": hiss(1),
            "usr/share/games/widelands/data/sound/empire/taverns/meal_00.wav": hiss(1),
            "usr/share/games/widelands/data/sound/lobby_chat.wav": hiss(1),
        },
    }


def build_all(out: Path, scratch: Path) -> None:
    """One small .deb for each package."""
    noise = np.random.default_rng(0).normal(0, 0.1, 15 * RATE_HZ).astype(np.float32)
    wav = encoded(noise[:RATE_HZ], scratch, ".wav")
    ogg = encoded(noise, scratch, ".ogg")
    for name in PACKAGES:
        if name.startswith("asterisk-core"):
            build(name, prompts(scratch), out)
    bundle = gresource({f"{label}.ogg": (ogg, True) for label in AMBIENCE.split()})
    build("blanket", {"usr/share/blanket/blanket.gresource": bundle}, out)
    write_g722(scratch / "music.g722", noise)
    build("asterisk-moh-opsound-g722", {"usr/share/moh/tune.g722": (scratch / "music.g722").read_bytes()}, out)
    empty = encoded(noise[:0], scratch, ".wav")
    effects = catalogue({"horn": wav[8:], "nothing": empty[8:]})
    build("openttd-opensfx", {"usr/share/opensfx/opensfx.cat": effects}, out)
    build("bucklespring-data", {"usr/share/buckle/wav/1e-0.wav": wav}, out)
    for name, files in {**words(scratch), **noises(scratch)}.items():
        build(name, files, out)
