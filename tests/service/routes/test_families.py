"""Searches, cross-validations and repetitions over HTTP: what is refused, what waits, what its children tell."""

from collections.abc import Iterator
from typing import Any

import pytest

from models_store.jobs import children, claims
from models_store.jobs.children import NewChild
from models_store.jobs.claims import Claim
from tests.service.live_service import Service, problem_of

SPACE = {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}}
SEARCH = {"kind": "random", "trials": 3, "space": SPACE}


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    return str(service.upload()["id"])


def post(service: Service, dataset: str, **asked: Any) -> Any:
    return service.http.post("/train", json={"name": "flowers", "dataset": dataset} | asked)


@pytest.fixture
def search(service: Service, dataset: str) -> Iterator[dict[str, Any]]:
    """A search that waits for three children, of which one runs."""
    here = service.context
    posted = post(service, dataset, search=SEARCH).raise_for_status().json()
    claim = claimed(service)
    assert claim.job.id == posted["id"]
    new = [
        NewChild(number, "trial", claim.job.spec | {"search": None}, parameters={"optimizer.lr": 0.1**number})
        for number in range(3)
    ]
    children.wait_for(here.database, claim, new, ended=0, phase="trials", progress={"fraction": 0.0, "children": 4})
    yield posted
    service.http.post(f"/jobs/{posted['id']}:cancel")
    while (left := claims.claim(here.database, settings=here.settings)) is not None:
        claims.confirm_cancel(here.database, left)


def claimed(service: Service) -> Claim:
    claim = claims.claim(service.context.database, settings=service.context.settings)
    assert claim is not None
    return claim


def test_a_dry_run_says_how_many_jobs_a_spec_makes(service: Service, dataset: str) -> None:
    def meant(**asked: Any) -> tuple[str, int]:
        answer = service.http.post("/train?dry_run=true", json={"name": "flowers", "dataset": dataset} | asked).json()
        return answer["kind"], answer["children"]

    assert meant() == ("train", 0)
    assert meant(search=SEARCH) == ("search", 4)
    assert meant(search={"kind": "grid", "space": SPACE, "steps": 4}) == ("search", 6)
    assert meant(validation={"kind": "k_fold", "folds": 5}) == ("k_fold", 6)
    assert meant(validation={"kind": "repeats", "seeds": 3, "publish": False}) == ("repeats", 3)


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"search": {"kind": "random", "space": {"optimizer.rate": {"uniform": [0, 1]}}}}, "optimizer.rate"),
        ({"search": {"kind": "random", "space": {"optimiser.lr": {"uniform": [0, 1]}}}}, "optimiser.lr"),
        ({"search": {"kind": "random", "space": {"training.epochs.x": {"uniform": [0, 1]}}}}, "training.epochs.x"),
        ({"search": {"kind": "random", "space": {"augmentation.31.degrees": {"uniform": [0, 1]}}}}, "augmentation.31"),
        ({"search": {"kind": "random", "space": {"compression.prune": {"choice": [None, {}]}}}}, "compression.prune"),
        ({"search": {"kind": "random", "space": {"name": {"choice": ["a", "b"]}}}}, "name"),
        ({"search": {"kind": "random", "space": {"training.monitor": {"choice": ["val_loss"] * 2}}}}, "monitor"),
        (
            {"search": {"kind": "random", "space": {"optimizer.lr": {"log_uniform": [1e-5, 1e6]}}}},
            "optimizer.lr/log_uniform/1",
        ),
        (
            {"search": {"kind": "random", "space": {"training.epochs": {"uniform": [1, 5]}}}},
            "training.epochs/uniform/0",
        ),
        (
            {"search": {"kind": "random", "space": {"optimizer": {"choice": [{"kind": "sgd"}, {"kind": "sdg"}]}}}},
            "optimizer/choice/1",
        ),
        *(
            ({"search": {"kind": "random", "space": {path: {"choice": values}}}}, f"{path}/choice/0")
            for path, values in {
                "optimizer": ["adam", 3],
                "loss": [{"kind": 5}, {}],
                "training": [[], None],
                "input": [7, {"size": "x"}],
                "backbone": ["resnet18", None],
                "augmentation": [{}, [{}]],
                "transfer": [True, {"probe_epochs": "x"}],
            }.items()
        ),
        (
            {
                "search": {"kind": "random", "space": {"backbone.weights": {"choice": ["imagenet", "flowers@best"]}}},
                "backbone": {"kind": "resnet18", "weights": "imagenet", "freeze": "none"},
            },
            "backbone.weights/choice/1",
        ),
        (
            {
                "search": {
                    "kind": "random",
                    "space": {
                        "augmentation": {"choice": [[], [{"kind": "random_flip"}]]},
                        "augmentation.0.probability": {"uniform": [0.1, 0.9]},
                    },
                },
                "augmentation": [{"kind": "random_flip"}],
            },
            "augmentation.0.probability",
        ),
        (
            {
                "search": {
                    "kind": "random",
                    "space": {
                        "backbone.widths.1": {"int_uniform": [8, 16]},
                        "backbone": {"choice": [{"kind": "small_cnn"}, {"kind": "cifar_resnet18"}]},
                    },
                },
                "backbone": {"kind": "small_cnn"},
            },
            "backbone.widths.1",
        ),
        (
            {
                "search": {"kind": "random", "space": {"optimizer.kind": {"choice": ["adam", "adamw"]}}},
                "optimizer": {"kind": "adamw"},
            },
            "optimizer.kind",
        ),
        ({"search": {"kind": "grid", "space": {"seed": {"choice": [0, 1, 0]}}}}, "seed/choice/2"),
        ({"search": {"kind": "grid", "steps": 40, "space": SPACE | {"seed": {"int_uniform": [0, 99]}}}}, "/space"),
        ({"search": SEARCH, "validation": {"kind": "k_fold"}}, "/validation"),
        ({"validation": {"kind": "k_fold", "folds": 20}}, "/validation/folds"),
        ({"validation": {"kind": "k_fold", "group": True}}, "/validation/group"),
    ],
)
def test_what_cannot_be_tried_is_refused_where_it_stands(
    service: Service, dataset: str, asked: dict[str, Any], pointer: str
) -> None:
    problem = problem_of(post(service, dataset, **asked), 422, "invalid_body")

    assert len(problem["errors"]) == 1
    assert pointer in problem["errors"][0]["pointer"]
    if "validation" not in asked:
        assert problem["errors"][0]["pointer"].startswith("/search/space")


@pytest.mark.parametrize(
    ("space", "pointer"),
    [
        ({"backbone.weights": {"choice": [None, "wt_00000000000000"]}}, "backbone.weights/choice/1"),
        ({"backbone.weights": {"choice": ["groups:77", None]}}, "backbone.weights/choice/0"),
        (
            {"backbone": {"choice": [{"kind": "resnet18"}, {"kind": "small_cnn", "weights": "groups:77"}]}},
            "backbone/choice/1",
        ),
        ({"distillation": {"choice": [None, {"teacher": "groups:77"}]}}, "distillation/choice/1"),
    ],
)
def test_a_choice_that_builds_on_what_is_not_there_is_refused(
    service: Service, dataset: str, space: dict[str, Any], pointer: str
) -> None:
    asked = {"search": {"kind": "grid", "space": space}, "backbone": {"kind": "small_cnn"}}

    problem = problem_of(post(service, dataset, **asked), 422, "source_not_found")

    assert [fault["pointer"] for fault in problem["errors"]] == [f"/search/space/{pointer}"]


def test_a_near_miss_of_a_path_is_named(service: Service, dataset: str) -> None:
    space = {"optimizer.weight_deacy": {"uniform": [0, 1]}}

    problem = problem_of(post(service, dataset, search={"kind": "random", "space": space}), 422, "invalid_body")

    assert "did you mean 'weight_decay'" in problem["detail"]


def test_a_parent_waits_and_counts_its_children(service: Service, search: dict[str, Any]) -> None:
    claimed(service)

    parent = service.http.get(f"/jobs/{search['id']}").json()

    assert (parent["kind"], parent["state"], parent["phase"]) == ("search", "waiting", "trials")
    assert parent["children"] == {
        "planned": 4,
        "queued": 2,
        "running": 1,
        "succeeded": 0,
        "failed": 0,
        "canceled": 0,
    }
    assert [(step["name"], step["state"]) for step in parent["steps"]] == [
        ("trials", "running"),
        ("publishing", "pending"),
    ]


def test_children_are_listed_below_their_parent_alone(service: Service, search: dict[str, Any]) -> None:
    above = service.http.get("/jobs?limit=100").json()["items"]
    below = service.http.get(f"/jobs?parent={search['id']}").json()["items"]

    assert not any(job["parent"] for job in above)
    assert [(job["parent"], job["number"], job["kind"]) for job in below] == [
        (search["id"], number, "trial") for number in (2, 1, 0)
    ]


def test_trials_tell_what_they_tried_and_reached(service: Service, search: dict[str, Any]) -> None:
    here = service.context
    first, second = claimed(service), claimed(service)
    metrics = {"val": {"accuracy": 0.75, "loss": 0.5}}
    with here.database.write() as connection:
        claims.succeed(connection, first, {"value": 0.75, "epochs": 3, "metrics": metrics})
    claims.fail(here.database, second, {"code": "diverged", "detail": "the loss is not a number"})

    items = service.http.get(f"/jobs/{search['id']}/trials").json()["items"]

    assert [(each["number"], each["state"], each["value"], each["epochs"]) for each in items] == [
        (0, "succeeded", 0.75, 3),
        (1, "failed", None, None),
        (2, "queued", None, None),
    ]
    assert items[0]["metrics"] == metrics
    assert [each["parameters"]["optimizer.lr"] for each in items] == pytest.approx([1, 0.1, 0.01])
    assert items[1]["problem"] == "the loss is not a number"


def test_trials_come_in_pages(service: Service, search: dict[str, Any]) -> None:
    first = service.http.get(f"/jobs/{search['id']}/trials?limit=2").json()
    second = service.http.get(f"/jobs/{search['id']}/trials", params={"limit": 2, "cursor": first["next"]}).json()

    assert [each["number"] for each in first["items"] + second["items"]] == [0, 1, 2]
    assert second["next"] is None
    problem_of(service.http.get(f"/jobs/{search['id']}/trials?cursor=x"), 422, "invalid_request")


def test_a_job_without_children_has_no_trials(service: Service, dataset: str) -> None:
    job = post(service, dataset).json()

    assert (job["kind"], job["children"]) == ("train", None)
    assert service.http.get(f"/jobs/{job['id']}/trials").json() == {"items": [], "next": None}
    problem_of(service.http.get("/jobs/job_00000000000/trials"), 404, "job_not_found")
    service.http.post(f"/jobs/{job['id']}:cancel").raise_for_status()


def test_canceling_a_parent_cancels_its_children(service: Service, search: dict[str, Any]) -> None:
    service.http.post(f"/jobs/{search['id']}:cancel").raise_for_status()

    items = service.http.get(f"/jobs/{search['id']}/trials").json()["items"]

    assert {each["state"] for each in items} == {"canceled"}


def test_a_part_of_a_search_is_not_retried_by_itself(service: Service, search: dict[str, Any]) -> None:
    trial = service.http.get(f"/jobs/{search['id']}/trials").json()["items"][0]["job"]
    service.http.post(f"/jobs/{trial}:cancel").raise_for_status()

    problem = problem_of(service.http.post(f"/jobs/{trial}:retry"), 409, "child_not_retried")

    assert search["id"] in problem["detail"]
