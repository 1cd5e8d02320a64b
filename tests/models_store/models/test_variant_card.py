"""A variant's card, as code reads it and as its row stores it."""

from models_store.models.variant_card import VariantCard

FAST = {"accuracy": {"val": 0.9}, "accepted": True, "reasons": []}
CARD = {
    "kind": "int8",
    "parent": "fp32",
    "made_by": {"kind": "static_int8"},
    "size_bytes": 10,
    "compressed_bytes": 9,
    "size_only": False,
    "batch_dependent": False,
    "temperature": {"value": 1.2},
    "measured": {"cpu": FAST, "cuda": {"unmeasurable": "there is no kernel"}},
}


def test_a_card_is_written_as_it_was_read() -> None:
    assert VariantCard.of_document(CARD).as_document() == CARD


def test_a_standalone_file_has_no_figures_by_provider() -> None:
    document = {name: value for name, value in CARD.items() if name != "measured"} | {"standalone": True}

    assert VariantCard.of_document(document).as_document() == document


def test_a_card_of_an_earlier_release_lacks_what_it_did_not_know() -> None:
    card = VariantCard.of_document({"kind": "int8", "parent": "fp32"})

    assert (card.size_only, card.measured, card.is_accepted, card.runs_on("cpu")) == (False, {}, False, False)


def test_a_variant_runs_where_it_was_measured() -> None:
    card = VariantCard.of_document(CARD)

    assert card.runs_on("cpu")
    assert not card.runs_on("cuda")
    assert (card.unmeasurable_on("cpu"), card.unmeasurable_on("cuda")) == (None, "there is no kernel")
    assert card.facts == {"temperature": {"value": 1.2}}
