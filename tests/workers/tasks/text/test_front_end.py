"""Front ends of code points: every one is folded as the tokenizer does it, by tables new and old."""

import numpy as np
import torch

from models_store.tasks.text.folding import CODE_POINTS, FOLD, pages
from models_store.tasks.text.tokenizers.in_graph import CodePointTokens
from workers.tasks.text import front_end

EVERY = torch.arange(CODE_POINTS, dtype=torch.int32).reshape(64, -1)


def test_every_code_point_is_folded_and_what_is_none_is_padding() -> None:
    front = front_end.of(CodePointTokens())

    ids_BL, real_BL = front(EVERY)
    none_ids, none_real = front(torch.tensor([[-1, CODE_POINTS, 0]], dtype=torch.int32))

    assert np.array_equal(ids_BL.numpy().ravel(), FOLD)
    assert real_BL.sum() == CODE_POINTS - 1
    assert (none_ids.tolist(), none_real.tolist()) == ([[0, 0, 0]], [[False, False, False]])


def test_the_table_has_what_changes_alone() -> None:
    state = front_end.of(CodePointTokens()).state_dict()  # type: ignore[attr-defined]

    assert sum(tensor.nbytes for tensor in state.values()) < 100_000


def test_a_net_of_an_earlier_release_whose_table_has_every_code_point_folds_the_same() -> None:
    page_of_X, pages_PX = (torch.from_numpy(table.astype(np.int64)) for table in pages(FOLD))

    front = front_end.of_state({"page_of": page_of_X, "pages": pages_PX}, "", size=CODE_POINTS)

    assert np.array_equal(front(EVERY)[0].numpy().ravel(), FOLD)
