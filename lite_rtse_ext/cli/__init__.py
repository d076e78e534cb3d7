"""The command ``lite-rtse``. Torch is imported where a command needs it, not before: ``--help`` is instant."""

from __future__ import annotations

import atexit
import gc
import io
import signal
import sys
import threading
from functools import cache
from typing import NoReturn

import click

from lite_rtse_ext import __version__
from lite_rtse_ext.cli.folder import INTERRUPTED, Folder


@click.group(cls=Folder, package="lite_rtse_ext.cli.commands", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lite-rtse")
def main() -> None:
    """Lite-RTSE speech enhancement on fused operators.

    \b
    lite-rtse enhance noisy.wav clean.wav
    lite-rtse prepare debian --out debian
    lite-rtse train debian --data debian/manifest.json --out run
    lite-rtse evaluate run --data debian/manifest.json
    lite-rtse live
    lite-rtse export model.onnx
    lite-rtse bench
    lite-rtse bench stream
    lite-rtse models
    lite-rtse info
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr does: names may hold what it can't encode
    if threading.current_thread() is threading.main_thread():  # Python lets no other set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            _end_as_interrupted(number)
    _exit_quickly()


@cache  # once in a process, however many commands it runs
def _exit_quickly() -> None:
    """Makes the interpreter look for garbage once when the process exits.

    It looks several times while it takes its modules down, and PyTorch's objects are many. What is registered here
    runs after all that libraries register when they are imported later.
    """
    atexit.register(_freeze)


def _freeze() -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # as the interpreter does next: Ctrl-C ends it without a traceback
    gc.collect()  # what is garbage already is still finalized
    gc.freeze()


def _end_as_interrupted(number: signal.Signals) -> None:
    """Makes a signal end the command by a KeyboardInterrupt, which takes away half-written files.

    A signal that is ignored stays ignored.
    """
    context, before = click.get_current_context(), signal.getsignal(number)
    if before is signal.SIG_IGN:
        return

    def interrupt(*_: object) -> NoReturn:
        context.meta[INTERRUPTED] = True
        raise KeyboardInterrupt

    signal.signal(number, interrupt)
    context.call_on_close(lambda: signal.signal(number, before))
