"""Training by a running service, as its clients ask for it."""

import time
from typing import Any

import httpx

ENDED = {"succeeded", "failed", "canceled"}
LOOKED_S = 0.25


def trained(http: httpx.Client, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the job of a spec, once it has succeeded.

    Raises:
        RuntimeError: if it fails.
        httpx.HTTPStatusError: if the spec is refused.
    """
    job: dict[str, Any] = http.post("/train", json=spec).raise_for_status().json()
    while job["state"] not in ENDED:
        time.sleep(LOOKED_S)
        job = http.get(f"/jobs/{job['id']}").raise_for_status().json()
    if job["state"] != "succeeded":
        raise RuntimeError(f"{spec}: {job['state']}, {job['problem']}")
    return job
