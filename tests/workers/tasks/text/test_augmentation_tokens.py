"""What is done to numbered texts: hidden tokens, and texts mixed with each other."""

import copy

import torch
from torch.nn import functional

from models_store.tasks.text.augmentation import MixupOfTexts, RandomSwap, TokenDropout
from workers.tasks.text.augmentations import Augmentation

COUNT = 200


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_dropped_tokens_are_unknown_and_padding_stays_padding() -> None:
    tokens = torch.randint(2, 50, (400, 30), generator=seeded())
    tokens[:, 20:] = 0

    result = Augmentation([TokenDropout(rate=0.2, probability=0.5)]).hidden(tokens, unknown=1, generator=seeded())

    dropped = result != tokens
    assert (result[dropped] == 1).all()
    assert not dropped[:, 20:].any()
    assert 150 < dropped.any(1).sum() < 250
    assert 0.15 < dropped[dropped.any(1)][:, :20].float().mean() < 0.25


def test_a_text_is_mixed_in_the_proportion_that_its_target_says() -> None:
    features = torch.arange(COUNT).float().view(-1, 1).expand(-1, 3)
    targets = functional.one_hot(torch.arange(COUNT)).float()

    mixed, soft = Augmentation([MixupOfTexts(alpha=1)]).mix("ids", targets, generator=seeded())

    assert mixed.inputs == "ids"
    assert torch.allclose(mixed.blended(features), (soft @ features), atol=1e-3)
    assert torch.allclose(soft.sum(1), torch.ones(COUNT))
    assert ((soft > 0).sum(1) == 2).sum() > 0.9 * COUNT


def test_a_probability_says_how_many_texts_are_mixed() -> None:
    targets = torch.eye(COUNT)

    _, soft = Augmentation([MixupOfTexts(probability=0.25, alpha=1)]).mix(None, targets, generator=seeded())

    assert 30 < (soft != targets).any(1).sum() < 70


def test_the_seed_decides_what_is_mixed() -> None:
    augmentation, targets = Augmentation([MixupOfTexts()]), torch.eye(8)

    first, second, other = (augmentation.mix(None, targets, generator=seeded(seed))[1] for seed in (1, 1, 2))

    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_it_says_what_it_does() -> None:
    nothing, swaps, mixes = Augmentation(), Augmentation([RandomSwap()]), Augmentation([MixupOfTexts()])

    assert (nothing.draws, nothing.rewrites, nothing.mixes) == (False, False, False)
    assert (swaps.draws, swaps.rewrites, swaps.mixes) == (True, True, False)
    assert (mixes.draws, mixes.rewrites, mixes.mixes) == (True, False, True)


def test_copies_of_a_net_share_it() -> None:
    augmentation = Augmentation([RandomSwap()])

    assert copy.deepcopy(augmentation) is augmentation
