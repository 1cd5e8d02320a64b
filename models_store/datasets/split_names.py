"""Names under which data sets keep their splits: `training`, `Test_Set`, `val2017`, `dev`, `entrenamiento`, `测试集` ….

A folder's name means a split if one of its words does, and the others say nothing (`images`, `set`) or are a prefix or
suffix that all folders share (`fruits_train`, `fruits_test`). Case, accents and the way in which words are joined don't
matter.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from models_store.datasets.report import Check

Split = Literal["train", "val", "test"]

CANONICAL: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""the names that the documentation gives"""
EVALUATION = "evaluation"  # of the split that chooses or of the one that judges: the other folders tell
_WORDS = {
    "train": """train trains training trainings trained trn tr trainval learn learning fit
        entrenamiento entrenar entreno entrainement apprentissage treino treinamento treinar addestramento
        lernen uben ausbildung opleiding opplaering traening koulutus trening treningowy treningowe uczenie uczace
        trenovaci egitim egit antrenman latih pelatihan
        обучение обучающая обучающий тренировка тренировочная тренировочный трейн навчання
        训练 訓練 学习 學習 学習 トレーニング 훈련 학습 تدريب प्रशिक्षण""",
    "val": """val vals valid valids validate validation validating validations vld dev devel develop development tune
        tuning validacion validar validacao validar validazione validierung validierungs validatie validering walidacja
        walidacyjny validace dogrulama gecerleme validasi
        валидация валидационная проверка перевірка
        验证 驗證 校验 検証 バリデーション 검증 تحقق सत्यापन""",
    "test": """test tests ts te testing tst holdout heldout
        prueba pruebas ensayo essai teste testes prova testen toets testy testowy testowe testovaci sinama pengujian uji
        тест тестовая тестовый тестирование
        测试 測試 テスト 테스트 시험 اختبار परीक्षण""",
    EVALUATION: "eval evals evaluate evaluation evaluacion avaliacao valutazione auswertung 评估 評価 평가 оценка",
}
_NOISE = """set sets data dataset datasets datos daten dados donnees dati gegevens image images imagen imagenes imagens
    immagini bild bilder img imgs photo photos foto fotos picture pictures pics frame frames folder folders file files
    split splits subset part partition sample samples jpg jpeg png jpegs final original the de da do del des
    集 数据 數據 数据集 數據集 图片 图像 圖片 圖像 データ データセット 画像 用 用データ セット 세트 데이터 이미지
    набор выборка данные"""


def split_of(name: str) -> str | None:
    """Return train, val or test when the name says so and nothing else; None when it doesn't."""
    found = _parsed(name)
    if found is None or found[1]:
        return None
    return "val" if found[0] == EVALUATION else found[0]


def splits_of(names: Iterable[str]) -> dict[str, str]:
    """Return name → split for those that name a split, judged together: prefixes and suffixes have to be shared."""
    parsed = {name: found for name in sorted(names) if (found := _parsed(name)) is not None}
    if len({rest for _, rest in parsed.values()}) > 1:  # what is left beside the split is not a common prefix or suffix
        parsed = {name: found for name, found in parsed.items() if not found[1]}
    known = {split for split, _ in parsed.values()}
    instead = "test" if "val" in known else "val"
    return {name: instead if split == EVALUATION else split for name, (split, _) in parsed.items()}


def unusual(splits: Mapping[str, str]) -> dict[str, str]:
    """Return those spellings → splits that the documentation does not give: how they were read is reported."""
    return {name: split for name, split in splits.items() if name.lower() not in CANONICAL}


def check_readings(splits: Mapping[str, str]) -> list[Check]:
    """Return how the cells of a column `split` were read that are none of the usual names; `splits` are by spelling."""
    if not (found := unusual(splits)):
        return []
    readings = ", ".join(f"{name[:50]!a} as {split}" for name, split in sorted(found.items()))
    return [Check("split_names", "info", f"splits are read by their names: {readings[:500]}", sorted(found))]


def _parsed(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the split that a name says, and its other words; None when it says none, or several."""
    split_of_word, noise = _tables()
    splits: set[str] = set()
    others: list[str] = []
    for word in _words(name):
        bare = next((rest for rest in _without_noise(word, noise) if rest in split_of_word), word)
        if bare in split_of_word:
            splits.add(split_of_word[bare])
        elif word not in noise:
            others.append(word)
    if len(splits) == 1:
        return splits.pop(), tuple(others)
    if splits == {"train", "val"}:  # both at once: what is trained on, where a test split is apart
        return "train", tuple(others)
    return None


@functools.cache
def _tables() -> tuple[dict[str, str], frozenset[str]]:
    """Return word → split, and the words that say nothing, all folded as names are."""
    split_of_word = {word: split for split, words in _WORDS.items() for word in _words(words)}
    return split_of_word, frozenset(_words(_NOISE))


def _words(name: str) -> list[str]:
    """Return the words of a name, without case and accents; numbers are none: they count parts and years."""
    joined = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", joined) if not unicodedata.combining(letter))
    return re.findall(r"[^\W\d_]+", plain.casefold())


def _without_noise(word: str, noise: frozenset[str]) -> Iterator[str]:
    """Yield the word, and the word without what says nothing at its beginning or end: `trainset`, `训练集`."""
    yield word
    for each in noise:
        if each.isascii() and len(each) < 3:  # noqa: PLR2004  else `detest` were a test
            continue
        for rest in (word.removesuffix(each), word.removeprefix(each)):
            if rest != word:
                yield rest
