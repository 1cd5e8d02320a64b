"""What the parts of a spec make of training texts."""

from collections import Counter
from collections.abc import Sequence
from typing import get_args

import pytest
import torch

from models_store.spec.part import Part
from models_store.tasks.text.augmentation import (
    Augmentation as Parts,
)
from models_store.tasks.text.augmentation import (
    Homophones,
    Paraphrases,
    PunctuationInsertion,
    RandomDeletion,
    RandomInsertion,
    RandomSwap,
    SynonymReplacement,
    Typos,
)
from workers.tasks.text.augmentations import Augmentation, Material

KINDS: tuple[type[Part], ...] = get_args(get_args(Parts)[0])
ENGLISH = "The rooms were clean, and the staff couldn't have been friendlier; we will come back!"
CHINESE = "房间很干净，服务员的态度也非常好，下次还会再来这里住。"
TEXTS = [ENGLISH, CHINESE, "a", "很", "...", "🙂", "  two  words ", "混合 mixed 文字 text"]
MATERIAL = Material(
    synonyms={"clean": ("tidy", "spotless"), "staff": ("personnel",), "干净": ("整洁", "清洁")},
    paraphrases={ENGLISH: ("It was tidy and everyone was nice.",)},
    characters=CHINESE + "建见贱坚经净静景她他它塌",
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def always(kind: type[Part], **values: object) -> Part:
    return kind(**{"probability": 1.0, **values})


def changed(texts: Sequence[str], *parts: Part, seed: int = 0, material: Material = MATERIAL) -> list[str]:
    return Augmentation(parts, material).rewritten(texts, generator=seeded(seed))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_part_empties_a_text_and_the_seed_decides_what_it_does(kind: type[Part]) -> None:
    texts = TEXTS * 20

    first, second = (changed(texts, always(kind)) for _ in range(2))

    assert first == second
    assert len(first) == len(texts)
    assert all(first)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_probability_of_nothing_leaves_texts_as_they_are(kind: type[Part]) -> None:
    assert changed(TEXTS, kind(probability=0.0)) == TEXTS


def test_each_text_is_changed_in_its_own_way_and_another_seed_gives_others() -> None:
    long = " ".join(f"word{number}" for number in range(50))
    parts = [always(RandomSwap), always(RandomDeletion)]

    first, other = changed([long] * 8, *parts, seed=1), changed([long] * 8, *parts, seed=2)

    assert len(set(first)) == 8
    assert first != other


def test_a_probability_says_how_many_texts_are_changed_and_the_others_stay_bit_for_bit() -> None:
    spaced = "  one   two three  "

    result = changed([spaced] * 400, RandomDeletion(probability=0.25))

    assert 60 < sum(text != spaced for text in result) < 140


# ---- words


def test_a_synonym_stands_where_the_word_stood() -> None:
    result = changed([ENGLISH], always(SynonymReplacement, rate=0.5))[0]

    words, others = ENGLISH.split(), result.split()
    assert len(words) == len(others)
    differences = [(a, b) for a, b in zip(words, others, strict=True) if a != b]
    assert differences
    assert all(pair in {("clean,", "tidy,"), ("clean,", "spotless,"), ("staff", "personnel")} for pair in differences)


def test_chinese_words_have_synonyms_too() -> None:
    results = {changed([CHINESE], always(SynonymReplacement), seed=seed)[0] for seed in range(20)}

    assert results == {CHINESE.replace("干净", "整洁"), CHINESE.replace("干净", "清洁")}


def test_a_phrase_of_several_words_is_replaced_as_one() -> None:
    material = Material(synonyms={"customer service": ("support",), "性价比很高": ("划算",)})

    result = changed(["Bad Customer Service!", "这里性价比很高啊"], always(SynonymReplacement), material=material)

    assert result == ["Bad support!", "这里划算啊"]


def test_neighbours_stand_in_where_the_dataset_has_no_synonyms() -> None:
    material = Material(neighbours=lambda count: {"clean": tuple(f"near{number}" for number in range(count))})

    results = {
        changed(["clean"], always(SynonymReplacement, neighbours=2), seed=seed, material=material)[0]
        for seed in range(20)
    }

    assert results == {"near0", "near1"}


def test_an_inserted_word_is_a_synonym_of_a_word_or_the_word_again() -> None:
    result = changed(["clean rooms"] * 50, always(RandomInsertion))

    added = Counter(word for text in result for word in text.split()) - Counter({"clean": 50, "rooms": 50})
    assert set(added) <= {"tidy", "spotless", "rooms"}
    assert all(len(text.split()) == 3 for text in result)


def test_a_swap_keeps_all_words_and_the_punctuation_stays_in_its_places() -> None:
    result = changed([ENGLISH], always(RandomSwap, rate=0.5))[0]

    assert result != ENGLISH
    assert sorted(result) == sorted(ENGLISH)
    assert [mark for mark in result if mark in ",;!"] == [",", ";", "!"]
    assert result.endswith("!")


def test_a_deletion_takes_its_share_of_the_words_and_leaves_single_spaces() -> None:
    text = " ".join(["word"] * 40)

    result = changed([text, "left right", "alone"], always(RandomDeletion, rate=0.25))

    assert result[0] == " ".join(["word"] * 30)
    assert result[1] in {"left", "right"}
    assert result[2] == "alone"


def test_a_contraction_is_one_word() -> None:
    results = {changed(["couldn't stop"], always(RandomDeletion), seed=seed)[0] for seed in range(20)}

    assert results == {"couldn't", "stop"}


def test_punctuation_follows_words_and_fits_their_script() -> None:
    english, chinese = changed([ENGLISH, CHINESE], always(PunctuationInsertion))

    assert Counter(english) - Counter(ENGLISH)
    assert set(Counter(english) - Counter(ENGLISH)) <= set(".;?:!,")
    assert set(Counter(chinese) - Counter(CHINESE)) <= set("。；？：！，")
    without = "".join(each for each in english if each not in ".;?:!,")
    assert without == "".join(each for each in ENGLISH if each not in ".;?:!,")


def test_the_number_of_marks_is_drawn_up_to_a_share_of_the_words() -> None:
    text = " ".join(["word"] * 30)

    counts = Counter(len(each) - len(text) for each in changed([text] * 900, always(PunctuationInsertion, rate=0.1)))

    assert set(counts) == {1, 2, 3}
    assert all(240 < count < 360 for count in counts.values())


# ---- characters


def test_homophones_sound_alike_and_come_from_the_training_texts() -> None:
    result = changed(["间"] * 100, always(Homophones))
    same_tone = changed(["间"] * 100, always(Homophones, tones="same"))

    assert set(result) == set("建见贱坚")
    assert set(same_tone) == {"坚"}


def test_homophones_leave_all_but_chinese_alone() -> None:
    assert changed([ENGLISH], always(Homophones)) == [ENGLISH]


def test_typos_are_one_key_away_or_left_out_or_doubled_or_exchanged() -> None:
    results = Counter(changed(["Fur"] * 2000, always(Typos, rate=0.3)))

    assert {"Fr", "Fuur", "uFr", "Dur", "Fur"[::2], "Fru"} <= set(results)
    assert all(abs(len(text) - 3) <= 1 for text in results)
    assert not any(text[0] in "qzpm" for text in results)  # far from f


def test_typos_leave_all_but_latin_letters_alone() -> None:
    assert changed([CHINESE, "1234 !?"], always(Typos)) == [CHINESE, "1234 !?"]


def test_characters_outside_the_basic_plane_come_through() -> None:
    text = "𠀀𠀁 🙂🙃 word"

    result = changed([text] * 20, always(Typos), always(RandomSwap))

    assert all("🙂🙃" in each and "𠀀" in each for each in result)


# ---- whole texts


def test_a_paraphrase_takes_the_place_of_its_text_alone() -> None:
    assert changed(TEXTS, always(Paraphrases)) == ["It was tidy and everyone was nice.", *TEXTS[1:]]
