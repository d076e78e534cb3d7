"""A run and the processes around it: what it borrows from its own, and what becomes of those that draw examples."""

from __future__ import annotations

import logging
import os
import random
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from lite_rtse_ext.train.callbacks import TrainingError
from lite_rtse_ext.train.denormals import flushed_denormals
from lite_rtse_ext.train.recipe import RecipeError

__all__ = ["borrowed_process", "clear_errors"]

_DIED = re.compile(r"DataLoader worker \(pid\S* [\d, ]+\) (is killed by signal: (?P<signal>.*)|exited unexpectedly)")
_RAISED = re.compile(r"Caught \w+ in DataLoader worker process \d+")
_EXPECTED_WARNINGS = (
    "LeafSpec",  # Lightning's own affair
    "does not have many workers",  # so a recipe says
    "your dataloader is not resumable",  # its sampler is
    "exists and is not empty",  # that is what resuming means
    "callbacks used to create the checkpoint",  # patience that a resumed run does without
)


@contextmanager
def borrowed_process(threads: int) -> Iterator[None]:
    """What a run sets for the whole process is as it was after the block: random states, threads, the logging of
    Lightning, environment variables, deterministic algorithms, warnings, denormals.

    Args:
        threads: CPU threads of PyTorch within; 0 leaves them.
    """
    logger, cudnn = logging.getLogger("lightning.pytorch"), torch.backends.cudnn
    level, threads_before, environment = logger.level, torch.get_num_threads(), dict(os.environ)
    exact = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    chosen = cudnn.deterministic, cudnn.benchmark
    try:
        logger.setLevel(logging.WARNING)  # it advertises otherwise
        torch.set_num_threads(threads or threads_before)
        with _random_states(), flushed_denormals(), warnings.catch_warnings():
            for message in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=f".*{message}.*")
            yield
    finally:
        logger.setLevel(level)
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(exact[0], warn_only=exact[1])
        cudnn.deterministic, cudnn.benchmark = chosen
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


@contextmanager
def _random_states() -> Iterator[None]:
    """Those of PyTorch, NumPy (its old global one) and Python, which Lightning seeds."""
    states, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(states)
        np.random.set_state(legacy)  # noqa: NPY002


@contextmanager
def clear_errors() -> Iterator[None]:
    """Errors of Lightning and of DataLoader in plain words.

    Raises:
        TrainingError: a process that draws examples has died.
        RecipeError: Lightning can't do what the recipe asks for.
        OSError, ValueError: what such a process raised, without the traceback in its message.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise RecipeError(f"run: {' '.join(str(error).split())}") from error
    except RuntimeError as error:
        died = _DIED.search(str(error))
        if not died:
            raise
        how = f"killed by a signal: {died['signal'].strip().rstrip('.')}" if died["signal"] else "it ended unexpectedly"
        raise TrainingError(
            f"a process that draws examples has died ({how}). Where memory has run out, lower data.workers or "
            "data.cache_megabytes; --resume goes on from the newest checkpoint"
        ) from error
    except (OSError, ValueError) as error:
        if not _RAISED.match(str(error)):
            raise
        raise type(error)(str(error).strip().splitlines()[-1].partition(": ")[2]) from error
