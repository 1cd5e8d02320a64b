from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from workers.training import stored_weights
from workers.training.stored_weights import WeightsUnfit


def test_weights_of_our_own_leave_their_head_behind(tmp_path: Path) -> None:
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    state = {f"backbone.{name}": value for name, value in source.state_dict().items()}
    save_file(state | {"head.classes.weight": torch.zeros(7, 2)}, tmp_path / "ours")

    stored_weights.start_from(target, tmp_path / "ours", classifier="fc.", shown_name="leaves:1")

    assert torch.equal(target.weight, source.weight)


def test_another_file_leaves_its_classifier_behind(tmp_path: Path) -> None:
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    save_file(source.state_dict() | {"fc.weight": torch.zeros(1000, 2)}, tmp_path / "theirs")

    stored_weights.start_from(target, tmp_path / "theirs", classifier="fc.", shown_name="wt_00000000")

    assert torch.equal(target.weight, source.weight)


def test_a_file_of_other_tensors_is_refused_with_the_first_differences(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3, 2), "scale": torch.zeros(1)}, tmp_path / "theirs")

    with pytest.raises(WeightsUnfit) as caught:
        stored_weights.start_from(nn.Linear(2, 2), tmp_path / "theirs", classifier=None, shown_name="wt_00000000")

    assert "wt_00000000 lacks 'bias' (2,), has 'scale'" in caught.value.detail
    assert "has 'weight' as (3, 2), and the backbone needs (2, 2)" in caught.value.detail


def test_a_file_of_numbers_that_are_none_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.full((2, 2), torch.nan), "bias": torch.zeros(2)}, tmp_path / "theirs")

    with pytest.raises(WeightsUnfit, match="'weight' that are no numbers"):
        stored_weights.start_from(nn.Linear(2, 2), tmp_path / "theirs", classifier=None, shown_name="wt_00000000")


def test_a_damaged_file_of_the_users_is_told_by_their_name_for_it(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"nothing of the kind")

    for path in (tmp_path / "theirs", tmp_path / "gone"):
        with pytest.raises(WeightsUnfit, match="wt_00000000 can't be read") as caught:
            stored_weights.start_from(nn.Linear(2, 2), path, classifier=None, shown_name="wt_00000000")

        assert str(tmp_path) not in caught.value.detail
