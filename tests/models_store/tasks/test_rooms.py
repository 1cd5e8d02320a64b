"""The list of tasks on the shared ground."""

from models_store.tasks.rooms import TASKS, contract_of, target_of


def test_every_task_has_one_room_and_a_target() -> None:
    names = [name for contract in TASKS for name in contract.targets]

    assert len(names) == len(set(names))
    assert all(name in contract_of(name).targets for name in names)
    assert {target_of(name).name for name in names} == {"class", "labels", "number"}
