"""Files that come with a dataset beside its examples."""

import zipfile

from models_store.datasets.row_sources import Table
from models_store.datasets.store import read_manifest
from tests.models_store.datasets.dataset_stores import Files, Store, class_files
from tests.models_store.datasets.text_rows import lines, rows_of

TABLE = Table("texts.csv", "csv")
SYNONYMS = b"good,fine\n"


def texts(**others: bytes) -> Files:
    named = {f"{name}.csv": content for name, content in others.items()}
    return {"texts.csv": lines(*rows_of("bad", "good"))} | named


def test_synonyms_are_a_member_of_the_content_that_the_card_names(store: Store) -> None:
    dataset = store.ingest(texts(synonyms=SYNONYMS))

    member = dataset.card["auxiliary"]["synonyms.csv"]
    with zipfile.ZipFile(store.blobs.local(dataset.content_blob)) as content:
        assert content.read(member) == SYNONYMS
        assert len(content.namelist()) == 21
    assert dataset.contract.facts(dataset.card).has_synonyms  # type: ignore[attr-defined]  # those of texts


def test_other_synonyms_make_another_dataset(store: Store) -> None:
    digests = [store.ingest(texts(**given)).digest for given in ({}, {"synonyms": SYNONYMS}, {"synonyms": b"a,b"})]

    assert len(set(digests)) == 3
    assert store.ingest_again(texts(synonyms=SYNONYMS))[1] is False


def test_synonyms_that_cannot_be_read_are_refused_with_their_line(store: Store) -> None:
    refusal = store.refusal(texts(synonyms=b"good,fine\nalone\n"))

    (error,) = [each for each in refusal.errors if each.code == "auxiliary_unreadable"]
    assert "line 2" in error.message


def test_paraphrases_of_no_text_are_named(store: Store) -> None:
    dataset = store.ingest(texts(paraphrases=b"id,text\ntexts.csv:2,another\ntexts.csv:999,lost\n"))

    (check,) = [each for each in dataset.report["checks"] if each["check"] == "paraphrases_of_nothing"]
    assert check["files"] == ["texts.csv:999"]
    assert dataset.contract.facts(dataset.card).has_paraphrases  # type: ignore[attr-defined]  # those of texts


def test_a_column_of_paraphrases_is_kept_beside_its_texts_and_is_part_of_the_version(store: Store) -> None:
    rows = rows_of("bad", "good")
    first, other, without = (
        store.ingest(lines(*[f"{row},{cell}" for row in rows], header=f"text,label,{column}"), table=TABLE)
        for column, cell in (("paraphrase", "other words"), ("paraphrase", "more words"), ("unused", "other words"))
    )

    entries = read_manifest(store.blobs.local(first.manifest_blob))
    assert {entry.facts["paraphrase"] for entry in entries} == {"other words"}
    assert len({first.digest, other.digest, without.digest}) == 3
    assert first.contract.facts(first.card).has_paraphrases  # type: ignore[attr-defined]  # those of texts


def test_a_dataset_of_images_passes_them_over(store: Store) -> None:
    dataset = store.ingest(class_files("elm", "oak") | {"synonyms.csv": SYNONYMS})

    assert "auxiliary" not in dataset.card
    (check,) = [each for each in dataset.report["checks"] if each["check"] == "ignored_files"]
    assert check["files"] == ["synonyms.csv"]
