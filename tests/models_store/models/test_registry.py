from dataclasses import replace

import pytest

from models_store.jobs import claims, housekeeping, submissions
from models_store.jobs import store as jobs
from models_store.models import aliases, publish, registry
from models_store.models.aliases import Alias, Comparison, Shadow, Target
from models_store.models.providers import Provider
from models_store.settings import Settings
from models_store.storage.database import Database
from tests.samples import a_train_spec, insert_dataset

OWNER = "ada"
FIGURES = {"speedup": 1.0, "accepted": True, "reasons": []}
NO_KERNEL = {"unmeasurable": "no kernel for bfloat16"}


@pytest.fixture(autouse=True)
def dataset(database: Database) -> None:
    insert_dataset(database, owner=OWNER)


def a_claim(database: Database, settings: Settings, name: str = "leaves") -> claims.Claim:
    submissions.submit(database, owner=OWNER, spec=a_train_spec(name=name), settings=settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    return claim


def a_publication() -> publish.Publication:
    variants = [
        registry.Variant("fp32", "a" * 64, 1000, {"kind": "fp32", "measured": {"cpu": FIGURES}}, accepted=True),
        registry.Variant("int8", "b" * 64, 300, {"kind": "int8", "measured": {"cpu": FIGURES}}, accepted=True),
        registry.Variant("bf16", "c" * 64, 500, {"kind": "bf16", "measured": {"cpu": NO_KERNEL}}, accepted=False),
        registry.Variant("any-size", "d" * 64, 1100, {"kind": "any-size", "standalone": True}, accepted=False),
    ]
    return publish.Publication({"labels": ["x", "y"]}, "int8", variants, defaults={"cpu": "int8"})


def test_publishing_adds_a_version_and_ends_the_job_in_one_step(database: Database, settings: Settings) -> None:
    claim = a_claim(database, settings)

    number = publish.publish(database, claim, a_publication())

    job = jobs.find(database, claim.job.id, owner=OWNER)
    assert (number, job.state, job.result) == (1, "succeeded", {"model": "leaves", "version": 1})


def test_what_a_job_made_besides_its_model_is_named_by_its_row_and_not_swept(
    database: Database, settings: Settings
) -> None:
    claim = a_claim(database, settings)
    publication = replace(a_publication(), files={"report": "f" * 64})

    publish.publish(database, claim, publication)

    assert jobs.find(database, claim.job.id, owner=OWNER).files == {"report": "f" * 64}
    assert "f" * 64 in housekeeping.named_blobs(database)


def test_a_stale_claim_publishes_nothing(database: Database, settings: Settings) -> None:
    claim = a_claim(database, settings)
    claims.release(database, claim)

    with pytest.raises(claims.Stale):
        publish.publish(database, claim, a_publication())

    assert registry.models(database, owner=OWNER) == ([], None)


def test_a_cancel_that_came_first_wins_over_publishing(database: Database, settings: Settings) -> None:
    claim = a_claim(database, settings)
    jobs.cancel(database, claim.job.id, owner=OWNER)

    with pytest.raises(claims.Stale):
        publish.publish(database, claim, a_publication())

    assert registry.models(database, owner=OWNER) == ([], None)


@pytest.mark.parametrize(
    ("reference", "meaning"),
    [
        ("leaves", (2, "int8")),
        ("leaves:1", (1, "int8")),
        ("leaves:1/fp32", (1, "fp32")),
        ("leaves/fp32", (2, "fp32")),
        ("leaves@live", (1, "fp32")),
        ("leaves@live/int8", (1, "int8")),
    ],
)
def test_a_reference_means_one_file(
    database: Database, settings: Settings, reference: str, meaning: tuple[int, str]
) -> None:
    for _ in range(2):
        publish.publish(database, a_claim(database, settings), a_publication())
    aliases.set_alias(database, "leaves", "live", owner=OWNER, to=Alias((Target(1, "fp32"),)))

    served = registry.resolve(database, reference, owner=OWNER, provider="cpu")

    assert (served.version, served.variant) == meaning


@pytest.mark.parametrize("reference", ["leaves", "leaves:1", "leaves@live"])
def test_where_nothing_was_measured_for_the_provider_fp32_answers_a_bare_name(
    database: Database, settings: Settings, reference: str
) -> None:
    publish.publish(database, a_claim(database, settings), a_publication())
    aliases.set_alias(database, "leaves", "live", owner=OWNER, to=Alias((Target(1),)))

    assert registry.resolve(database, reference, owner=OWNER, provider="cuda").variant == "fp32"


def test_each_provider_has_a_default_of_its_own(database: Database, settings: Settings) -> None:
    publication = replace(a_publication(), defaults={"cpu": "int8", "cuda": "fp32"})
    publish.publish(database, a_claim(database, settings), publication)

    meant = [registry.resolve(database, "leaves", owner=OWNER, provider=each).variant for each in ("cpu", "cuda")]

    assert meant == ["int8", "fp32"]
    assert registry.version(database, "leaves", 1, owner=OWNER).defaults == {"cpu": "int8", "cuda": "fp32"}


@pytest.mark.parametrize(
    ("reference", "provider", "why"),
    [
        (
            "leaves/int8",
            "cuda",
            "never measured on cuda, which serves here; name one of fp32, or no variant, or measure it",
        ),
        ("leaves@quick", "cuda", "POST /models/leaves/versions/1:measure"),
        ("leaves/bf16", "cpu", "does not run on cpu here: no kernel for bfloat16; name one of int8, fp32"),
        ("leaves/any-size", "cpu", "it can only be downloaded; name one of int8, fp32"),
    ],
)
def test_a_variant_that_is_not_served_here_is_refused_with_those_that_are(
    database: Database, settings: Settings, reference: str, provider: Provider, why: str
) -> None:
    publish.publish(database, a_claim(database, settings), a_publication())
    aliases.set_alias(database, "leaves", "quick", owner=OWNER, to=Alias((Target(1, "int8"),)))

    with pytest.raises(registry.NotServedHere) as caught:
        registry.resolve(database, reference, owner=OWNER, provider=provider)

    assert why in caught.value.detail
    assert caught.value.status == 409


def test_a_bare_name_follows_the_alias_default_when_it_is_set(database: Database, settings: Settings) -> None:
    for _ in range(2):
        publish.publish(database, a_claim(database, settings), a_publication())

    aliases.set_alias(database, "leaves", "default", owner=OWNER, to=Alias((Target(1),)))

    assert registry.resolve(database, "leaves", owner=OWNER, provider="cpu").version == 1


@pytest.mark.parametrize("reference", ["nothing", "leaves:7", "leaves@no", "leaves/no", "../leaves", "", "leaves:1:2"])
def test_an_unknown_reference_says_what_there_is(database: Database, settings: Settings, reference: str) -> None:
    publish.publish(database, a_claim(database, settings), a_publication())

    with pytest.raises(registry.ModelNotFound) as caught:
        registry.resolve(database, reference, owner=OWNER, provider="cpu")

    assert "leaves" in caught.value.detail or "write `name`" in caught.value.detail


def test_an_alias_is_moved_and_removed(database: Database, settings: Settings) -> None:
    for _ in range(2):
        publish.publish(database, a_claim(database, settings), a_publication())
    aliases.set_alias(database, "leaves", "live", owner=OWNER, to=Alias((Target(1),)))

    aliases.set_alias(database, "leaves", "live", owner=OWNER, to=Alias((Target(2),)))
    moved = registry.model(database, "leaves", owner=OWNER).aliases
    aliases.remove_alias(database, "leaves", "live", owner=OWNER)

    assert moved == {"live": Alias((Target(2),))}
    assert registry.model(database, "leaves", owner=OWNER).aliases == {}


def a_weighted_alias(database: Database, settings: Settings) -> Alias:
    for _ in range(3):
        publish.publish(database, a_claim(database, settings), a_publication())
    alias = Alias((Target(1, "fp32", 3.0), Target(2, None, 1.0)), Shadow(3, "fp32", 0.25), pinned=True)
    aliases.set_alias(database, "leaves", "live", owner=OWNER, to=alias)
    return alias


def test_an_alias_has_its_targets_by_weight_and_a_shadow(database: Database, settings: Settings) -> None:
    alias = a_weighted_alias(database, settings)

    served = registry.resolve(database, "leaves@live", owner=OWNER, provider="cpu")

    assert aliases.alias_of(database, "leaves", "live", owner=OWNER) == alias
    assert registry.find(database, "leaves@live", owner=OWNER)[0].number == 1
    drawn = [served.drawn(at) for at in (0.0, 0.74, 0.76, 0.99)]
    assert [(each.version, each.variant) for each in drawn] == [(1, "fp32"), (1, "fp32"), (2, "int8"), (2, "int8")]
    shadows = [each.shadow for each in drawn if each.shadow is not None]
    assert [(each.alias, each.served.version, each.served.variant, each.share) for each in shadows] == [
        ("live", 3, "fp32", 0.25)
    ] * 4
    assert aliases.pinned(database) == [(OWNER, "leaves@live")]


def test_a_shadow_that_can_not_run_here_is_left_out_and_the_alias_answers(
    database: Database, settings: Settings
) -> None:
    publish.publish(database, a_claim(database, settings), a_publication())
    alias = Alias((Target(1),), Shadow(1, "bf16", 1.0))
    aliases.set_alias(database, "leaves", "live", owner=OWNER, to=alias)

    served = registry.resolve(database, "leaves@live", owner=OWNER, provider="cpu")

    assert (served.version, served.shadow) == (1, None)


def test_what_is_counted_of_a_shadow_adds_up_until_its_alias_is_set_again(
    database: Database, settings: Settings
) -> None:
    alias = a_weighted_alias(database, settings)
    more = Comparison(compared=10, agreed=9, dropped=2, live_s=0.5, shadow_s=0.25)

    for version in (3, 3, 2):  # the last is no shadow
        aliases.count(database, "leaves", "live", owner=OWNER, version=version, more=more)
    counted = aliases.alias_of(database, "leaves", "live", owner=OWNER).shadow
    aliases.set_alias(database, "leaves", "live", owner=OWNER, to=alias)

    assert counted is not None
    assert counted.comparison == Comparison(20, 18, 0, 4, 1.0, 0.5)
    assert aliases.alias_of(database, "leaves", "live", owner=OWNER) == alias


def test_what_a_row_names_is_not_swept(database: Database, settings: Settings) -> None:
    publish.publish(database, a_claim(database, settings), a_publication())
    claim = a_claim(database, settings, name="other")
    claims.keep_checkpoint(database, claim, "e" * 64)

    assert housekeeping.named_blobs(database) == {letter * 64 for letter in "abcde12"}
