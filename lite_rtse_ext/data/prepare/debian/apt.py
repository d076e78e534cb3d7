"""Fetches Debian packages without installing them. apt fetches and verifies them, and dpkg-deb unpacks them.

The lists and caches of apt are kept in the target folder. No administrator's rights and no up-to-date package list of
the system are needed. apt verifies each package that it fetches against the signed index of its release.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

__all__ = ["NEWER_SUITE", "FetchError", "fetch", "sha256", "unpack"]

NEWER_SUITE = "trixie"
"""The first Debian release that has all packages that are used here. Ubuntu's releases have all of them."""

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_MOST_LINES = 3
_MOST_MEMBERS = 1_000_000

MOST_BYTES = 8 * 2**30
"""Largest size in bytes of an unpacked package. The largest package that is fetched here has a tenth of it."""


class FetchError(RuntimeError):
    """A package can't be fetched or unpacked. The message contains the message of apt."""


def fetch(
    names: Iterable[str],
    folder: Path,
    *,
    suite: str = NEWER_SUITE,
    offline: bool = False,
    report: Callable[[str], None] = print,
) -> dict[str, Path]:
    """Fetch the .deb files of packages into a folder. Files that exist there already are kept.

    Args:
        names: the names of the packages.
        folder: the folder. It is created if it doesn't exist.
        suite: the Debian release for packages that the system's sources don't have.
        offline: use only the files that exist, and fetch nothing.
        report: function that is called with one line about each step.

    Returns:
        The file of each package, by the package's name.

    Raises:
        OSError: the folder can't be written to.
        FetchError: a package can't be fetched, or does not exist in the folder if ``offline`` is set.
    """
    names = list(names)
    if offline:
        missing = [name for name in names if _archive(folder, name) is None]
        if missing:
            raise FetchError(f"{folder}: has no .deb of {', '.join(missing)}")
    else:
        _fetch_missing(names, folder, suite, report)
    archives = {name: _archive(folder, name) for name in names}
    return {name: path for name, path in archives.items() if path is not None}


def _fetch_missing(names: list[str], folder: Path, suite: str, report: Callable[[str], None]) -> None:
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise FetchError(f"{tool} was not found: this needs Debian, Ubuntu or a system made from them")
    names = [name for name in names if _archive(folder, name) is None]
    if not names:
        return
    folder.mkdir(parents=True, exist_ok=True)
    report("apt: reading the package lists of the system's sources")
    own = _private_apt(folder / "apt")
    _run(["apt-get", "-qq", *own, "update"])
    here = [name for name in names if _knows(own, name)]
    if here:
        report(f"apt: fetching {', '.join(here)}")
        _download(own, here, folder)
    elsewhere = [name for name in names if name not in here]
    if elsewhere:
        report(f"apt: fetching {', '.join(elsewhere)} from Debian {suite}")
        newer = _newer_suite(own, folder / f"apt-{suite}", suite)
        _run(["apt-get", "-qq", *newer, "update"])
        _download(newer, elsewhere, folder)
    shutil.rmtree(folder / "apt")
    shutil.rmtree(folder / f"apt-{suite}", ignore_errors=True)


def _download(options: list[str], names: list[str], folder: Path) -> None:
    """Download packages with apt-get, which writes into its working folder.

    A file appears under its final name only when it is complete and verified.
    """
    partial = folder / "partial"
    partial.mkdir(exist_ok=True)
    for name in names:
        _run(["apt-get", "-qq", *options, "download", name], partial)
        archive = _archive(partial, name)
        if archive is None:
            raise FetchError(f"{name}: apt-get download left no .deb file")
        os.replace(archive, folder / archive.name)
    shutil.rmtree(partial)


def _private_apt(folder: Path) -> list[str]:
    """Return options for an apt that has separate lists and a separate cache, but the system's sources and keys."""
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    options = [f"Dir::State::lists={folder / 'lists'}", f"Dir::Cache={folder / 'cache'}"]
    if os.geteuid() == 0:  # otherwise apt, run as root, changes to a user who may not write here
        options.append("APT::Sandbox::User=root")
    return [part for option in options for part in ("-o", option.replace(str(folder), str(folder.resolve())))]


def _newer_suite(own: list[str], folder: Path, suite: str) -> list[str]:
    """Return options for one Debian release, from the site of the system's own packages."""
    targets = _run(
        ["apt-get", *own, "indextargets", "--format", "$(SITE) $(ORIGIN)", "Created-By: Packages"]
    ).splitlines()
    site = next((line.split()[0] for line in targets if line.endswith(" Debian")), None)
    if site is None:
        raise FetchError(f"the system's apt sources name no Debian site to take {suite} from")
    options = _private_apt(folder)
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {site} {suite} main\n", encoding="utf-8")
    return [*options, "-o", f"Dir::Etc::SourceList={sources.resolve()}", "-o", "Dir::Etc::SourceParts=/dev/null"]


def _knows(options: list[str], name: str) -> bool:
    found = subprocess.run(["apt-cache", *options, "show", name], capture_output=True, text=True, check=False)
    return found.returncode == 0 and bool(found.stdout.strip())


def _archive(folder: Path, name: str) -> Path | None:
    """Return the newest .deb file of a package in a folder, or None."""
    found = sorted(folder.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def unpack(archive: Path, name: str, folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Unpack the files of a .deb file.

    Links that lead out of the folder are left out, and so are devices and other special files.

    Args:
        archive: the .deb file.
        name: the expected name of the package.
        folder: the folder to unpack into.
        most_bytes: largest total size of the unpacked files in bytes.

    Raises:
        FetchError: the file is damaged, is another package, or holds too many bytes or files.
    """
    try:
        found = _run(["dpkg-deb", "--field", str(archive), "Package"]).strip()
        if found != name:
            raise FetchError(f"it is the package {found}, not {name}")
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as tool:
            assert tool.stdout is not None
            assert tool.stderr is not None
            try:
                _extract(tool.stdout, folder, most_bytes)
            except BaseException:
                tool.kill()
                raise
            said = tool.stderr.read().decode(errors="replace")
        if tool.returncode:
            raise FetchError(f"dpkg-deb failed: {' '.join(said.split()) or f'exit code {tool.returncode}'}")
    except (FetchError, tarfile.TarError, EOFError) as error:
        raise FetchError(f"{archive}: damaged; delete it and run again ({error})") from error


def _extract(stream: IO[bytes], folder: Path, most_bytes: int) -> None:
    left = most_bytes
    if not hasattr(tarfile, "data_filter"):
        raise FetchError("unpacking needs a Python whose tarfile has filters: 3.10.12, 3.11.4 or later")
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        archive.extraction_filter = tarfile.data_filter
        for count, member in enumerate(archive):
            left -= member.size
            if left < 0 or count > _MOST_MEMBERS:
                raise FetchError(f"it holds more than {most_bytes} bytes or {_MOST_MEMBERS} files")
            with suppress(tarfile.FilterError):  # skips members that lead out of the folder, and devices
                archive.extract(member, folder)
    while stream.read(1 << 20):  # dpkg-deb ends only when the padding after the archive is read
        pass


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _run(command: list[str], folder: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()][:_MOST_LINES]
        raise FetchError(f"{command[0]} failed: {' '.join(said) or f'exit code {done.returncode}'}")
    return done.stdout
