"""Tasks that there are: the only list of them on the shared ground."""

from collections.abc import Mapping

from models_store.targets import NAMED, Target
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.task import Contract

TASKS: tuple[Contract, ...] = (IMAGE,)

_BY_NAME: Mapping[str, Contract] = {name: contract for contract in TASKS for name in contract.targets}


def contract_of(task: str) -> Contract:
    """Return the contract of a spec's `task`.

    Raises:
        KeyError: if there is no such task.
    """
    return _BY_NAME[task]


def target_of(task: str) -> Target:
    """Return the target of a spec's `task`.

    Raises:
        KeyError: if there is no such task.
    """
    return NAMED[contract_of(task).targets[task]]
