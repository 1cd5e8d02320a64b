"""Failures of a run that are caused by the spec or the data; such a run is never tried again.

Invalid
├── NothingToTrainOn
├── TrainingDiverged
├── OutOfMemory
└── BatchTooSmall
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from models_store.errors import Invalid
from models_store.spec.train import ResolvedSpec
from models_store.wording import counted


class NothingToTrainOn(Invalid):
    """The train split is empty."""

    code = "nothing_to_train_on"
    title = "Nothing to train on"


class TrainingDiverged(Invalid):
    """The loss is no longer a finite number."""

    code = "diverged"
    title = "Training diverged"


def diverged(epoch: int, *, step: int, steps: int, rate: float) -> TrainingDiverged:
    """Return the error of a loss that is not finite, with what to do; epochs and steps count from 1."""
    return TrainingDiverged(
        f"the loss was no longer a finite number in epoch {epoch}, at step {step} of {steps}, with the learning rate "
        f"at {rate:.3g}; lower `optimizer.lr`, add `schedule.warmup_epochs` or `training.clip_grad_norm`, or set "
        "`training.precision` to fp32"
    )


class OutOfMemory(Invalid):
    """A batch does not fit into the device's memory."""

    code = "out_of_memory"
    title = "Out of memory"


class BatchTooSmall(Invalid):
    """Batch norm has only one value per channel to norm by."""

    code = "batch_too_small"
    title = "Batch too small for batch norm"


@contextmanager
def explaining_errors(spec: ResolvedSpec) -> Iterator[None]:
    """Turn torch's complaints about memory and batch norm into errors that say what to change in the spec."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(spec) from error
    except RuntimeError as error:
        if "memory" in str(error) and "alloc" in str(error):  # what the CPU's allocator says, in a plain RuntimeError
            raise _out_of_memory(spec) from error
        raise
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            raise BatchTooSmall(
                "batch norm can't train on a single example of this size; "
                "set `training.batch_size` to 2 or more, and give at least 2 training examples"
            ) from error
        raise


def _out_of_memory(spec: ResolvedSpec) -> OutOfMemory:
    wanted = spec.training.batch_size
    if isinstance(wanted, int):
        return OutOfMemory(
            f"a batch of {counted(wanted, 'example')} does not fit into memory; lower `training.batch_size` or the "
            "size of the input, raise `training.accumulate_steps`, or take a smaller net"
        )
    return OutOfMemory(
        f"the batches that a probe found for `batch_size: {wanted}` do not fit into memory after all; "
        "give `training.batch_size` as a number, lower the size of the input, or take a smaller net"
    )
