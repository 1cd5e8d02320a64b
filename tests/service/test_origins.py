"""Requests that a web page may have sent: by a foreign host name, from a foreign origin, as a form would."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from models_store.settings import Settings
from service import openapi
from service.app import create_app
from tests import samples
from tests.service.live_service import Service, problem_of, running

PAGE = "https://app.example.org"
KEY = "key-of-ada-0123456789"
UNSAFE = [
    ("POST", "/train"),
    ("POST", "/predict"),
    ("POST", "/jobs/job_0123456789:cancel"),
    ("DELETE", "/datasets/ds_1"),
]


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One with keys, behind a name, that lets one page in."""
    settings = samples.quick_settings(
        tmp_path_factory.mktemp("listed") / "home",
        api_keys=f"ada:{KEY}",
        allowed_hosts="espalier.example.org,192.0.2.7",
        cors_origins=f"{PAGE},http://localhost:3000",
    )
    with running(settings) as live:
        yield live


def own_port(service: Service) -> str:
    return service.url.rpartition(":")[2]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.0.0.1:80", "127.8.9.1", "[::1]", "[::1]:8000"]
)
def test_a_loopback_name_is_answered_whatever_its_port(service: Service, host: str) -> None:
    assert service.http.get("/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost:80:80",
        "localhost/",
        "0.0.0.0",  # noqa: S104  nothing is bound
        "192.0.2.7",
        "[::2]",
        "[::1",
        "",
        "localhost, evil.example",
    ],
)
@pytest.mark.parametrize("path", ["/jobs", "/health/live", "/docs", "/nothing"])
def test_a_foreign_host_is_refused(service: Service, path: str, host: str) -> None:
    problem_of(service.http.get(path, headers={"Host": host}), 400, "host_not_allowed")


@pytest.mark.parametrize("host", ["espalier.example.org", "Espalier.Example.ORG:443", "192.0.2.7:8000", "localhost:1"])
def test_a_host_of_the_settings_is_answered(listed: Service, host: str) -> None:
    assert listed.http.get("/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["example.org", "www.espalier.example.org", "192.0.2.8"])
def test_a_neighbour_of_a_host_of_the_settings_is_refused(listed: Service, host: str) -> None:
    answer = listed.http.get("/jobs", headers={"Host": host, "X-API-Key": KEY})

    assert "espalier.example.org" in problem_of(answer, 400, "host_not_allowed")["detail"]


@pytest.mark.parametrize(("method", "path"), UNSAFE)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_foreign_page_changes_nothing(service: Service, method: str, path: str, headers: dict[str, str]) -> None:
    answer = service.http.request(method, path, headers=headers | {"Content-Type": "application/json"}, content="{}")

    problem_of(answer, 403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers


def test_a_foreign_page_reads_nothing(service: Service) -> None:
    problem_of(service.http.get("/jobs", headers={"Origin": "https://evil.example"}), 403, "origin_not_allowed")


def test_a_foreign_page_gets_no_preflight(service: Service) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}

    problem_of(service.http.options("/train", headers=headers), 403, "origin_not_allowed")


def test_a_link_from_elsewhere_may_be_followed(service: Service) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}

    assert service.http.get("/docs", headers=headers).status_code == 200


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_services_own_page_may_do_everything(service: Service, name: str) -> None:
    own = f"{name}:{own_port(service)}"
    headers = {"Host": own, "Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"}

    answer = service.http.post("/train", json={"name": "a"}, headers=headers)

    problem_of(answer, 422, "invalid_body")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("espalier.example.org", "https://espalier.example.org"),
        ("espalier.example.org:443", "https://espalier.example.org"),
        ("espalier.example.org", "http://espalier.example.org:80"),
    ],
)
def test_a_page_behind_a_proxy_is_the_services_own(listed: Service, host: str, origin: str) -> None:
    headers = {"Host": host, "Origin": origin, "X-API-Key": KEY}

    problem_of(listed.http.post("/train", json={"name": "a"}, headers=headers), 422, "invalid_body")


def test_a_client_that_is_no_browser_sends_no_origin(service: Service) -> None:
    problem_of(service.http.post("/train", json={"name": "a"}), 422, "invalid_body")


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
def test_a_listed_page_gets_its_preflight_without_a_key(listed: Service, origin: str) -> None:
    answer = listed.http.options(
        "/train",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,idempotency-key,x-api-key",
            "Access-Control-Request-Private-Network": "true",
            "Sec-Fetch-Site": "cross-site",
        },
    )

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "x-api-key" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "Origin" in answer.headers["vary"]


def test_a_listed_page_may_read_answers_and_problems(listed: Service) -> None:
    headers = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}

    answers = [
        listed.http.get("/jobs", headers=headers | {"X-API-Key": KEY}),
        listed.http.post("/train", json={}, headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [200, 401]
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {PAGE}


@pytest.mark.parametrize(
    "origin", ["https://app.example.org:444", "http://app.example.org", "https://evil.example", f"{PAGE}.evil.example"]
)
def test_a_neighbour_of_a_listed_page_is_refused(listed: Service, origin: str) -> None:
    answer = listed.http.post("/train", json={}, headers={"Origin": origin, "X-API-Key": KEY})

    problem_of(answer, 403, "origin_not_allowed")


def bodies(settings: Settings) -> list[tuple[str, str]]:
    """Return the calls that need a content type; clients of the Open Inference Protocol send none."""
    document = openapi.build(create_app(settings))
    return [
        (method, path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation and not path.startswith("/v2/")
    ]


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/html", "text/json", "application/x-www-form-urlencoded", "application/vnd.api+json", "*/*"],
)
def test_a_body_without_a_documented_content_type_is_a_415(
    service: Service, settings: Settings, content_type: str | None
) -> None:
    found: dict[tuple[str, str], Any] = {}
    for method, path in bodies(settings):
        filled = path.format(dataset_id="ds_0123456789", weights_id="wt_0123456789", name="a", number=1, alias="live")
        headers = {} if content_type is None else {"Content-Type": content_type}
        answer = service.http.request(method, filled, content=b"{}", headers=headers)
        found[method, path] = (answer.status_code, answer.json().get("code"))

    assert len(found) >= 7
    assert set(found.values()) == {(415, "unsupported_media_type")}


def test_without_keys_a_connection_from_elsewhere_is_refused(settings: Settings) -> None:
    app = create_app(settings)  # as another server than ours might have opened it

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://192.0.2.7:8000") as client:
            return await client.get("/openapi.json", headers={"Host": "localhost"})

    problem_of(asyncio.run(ask()), 403, "keys_not_set")
