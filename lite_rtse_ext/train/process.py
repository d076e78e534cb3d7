"""Process-wide settings of a training run, and clear errors for the failure of data loader processes."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from lite_rtse_ext.train.callbacks import TrainingError
from lite_rtse_ext.train.denormals import flushed_denormals
from lite_rtse_ext.train.recipe import RecipeError

__all__ = ["borrowed_process", "clear_errors", "is_first_process"]

_DIED = re.compile(r"DataLoader worker \(pid\S* [\d, ]+\) (is killed by signal: (?P<signal>.*)|exited unexpectedly)")
_RAISED = re.compile(r"Caught \w+ in DataLoader worker process \d+")
_EXPECTED_WARNINGS = (
    "LeafSpec",  # concerns only Lightning's own code
    "does not have many workers",  # the recipe sets their number
    "your dataloader is not resumable",  # the sampler is resumable
    "smaller than the logging interval",  # the interval is not a setting of the recipe
    "exists and is not empty",  # expected when a run is resumed
    "callbacks used to create the checkpoint",  # a resumed run may have no patience
)

_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "NODE_RANK", "GROUP_RANK")
"""Variables by which launchers number the processes and the machines of a run. Lightning reads the same ones."""


def is_first_process() -> bool:
    """Whether this process is the first or the only one of its run."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)


@contextmanager
def borrowed_process(threads: int) -> Iterator[None]:
    """Restore the process-wide settings after the block.

    These are: random states, number of threads, Lightning's logging level, environment variables, deterministic
    algorithms, warnings, flushing of denormals, and the handler of Ctrl-C. Lightning ignores Ctrl-C after the first
    one. Within the block denormals are flushed, and expected warnings and Lightning's messages below warnings are
    hidden.

    Args:
        threads: CPU threads of PyTorch within the block. 0 keeps the current number.
    """
    logger, cudnn = logging.getLogger("lightning.pytorch"), torch.backends.cudnn
    level, threads_before, environment = logger.level, torch.get_num_threads(), dict(os.environ)
    exact = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    chosen = cudnn.deterministic, cudnn.benchmark
    interruption = signal.getsignal(signal.SIGINT)
    try:
        logger.setLevel(logging.WARNING)  # hides Lightning's advertisements
        torch.set_num_threads(threads or threads_before)
        with _random_states(), flushed_denormals(), warnings.catch_warnings():
            for message in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=f".*{message}.*")
            yield
    finally:
        if signal.getsignal(signal.SIGINT) is not interruption:
            signal.signal(signal.SIGINT, interruption)
        logger.setLevel(level)
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(exact[0], warn_only=exact[1])
        cudnn.deterministic, cudnn.benchmark = chosen
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


@contextmanager
def _random_states() -> Iterator[None]:
    """Restore the random states that Lightning seeds: of PyTorch, of Python, and NumPy's legacy global state."""
    states, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(states)
        np.random.set_state(legacy)  # noqa: NPY002


@contextmanager
def clear_errors() -> Iterator[None]:
    """Translate errors of Lightning and DataLoader into clear messages.

    Raises:
        KeyboardInterrupt: Lightning ends the process after one.
        TrainingError: a data loader process has died.
        RecipeError: Lightning cannot do what the recipe requests.
        OSError, ValueError: a data loader process raised this error. Its message comes without the traceback.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise RecipeError(f"run: {' '.join(str(error).split())}") from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    except RuntimeError as error:
        died = _DIED.search(str(error))
        if not died:
            raise
        how = f"killed by a signal: {died['signal'].strip().rstrip('.')}" if died["signal"] else "it ended unexpectedly"
        raise _death(how) from error
    except (OSError, ValueError, EOFError) as error:
        if not _RAISED.match(str(error)):
            if isinstance(error, (ConnectionError, EOFError)):  # it died while it handed over an example
                raise _death("it ended unexpectedly") from error
            raise
        raise type(error)(str(error).strip().splitlines()[-1].partition(": ")[2]) from error


def _death(how: str) -> TrainingError:
    return TrainingError(
        f"a process that draws examples has died ({how}). Where memory has run out, lower data.workers or "
        "data.cache_megabytes; --resume goes on from the newest checkpoint"
    )
