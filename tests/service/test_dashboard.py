"""The dashboard and the monitoring of docker-compose, against the counters of a live service."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.service import onnx_files
from tests.service.live_service import Service, a_plain_image
from tests.service.metric_series import read
from tests.service.prediction_requests import RED

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
NAME = re.compile(r"\b(?:espalier|process)_[a-z_]+")
PROMTOOL = shutil.which("promtool")
LABELS = re.compile(r"\{([^{}]*)\}|by \(([^()]*)\)")


@pytest.fixture(scope="module")
def queries() -> list[str]:
    dashboard = json.loads((ROOT / "docker/grafana/espalier.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def labels_in(query: str) -> set[str]:
    """Return the labels that a query selects or groups by."""
    found = set()
    for selected, grouped in LABELS.findall(query):
        found |= {each.partition("=")[0].strip("~ ") for each in (selected or grouped).split(",") if each.strip()}
    return found


def test_every_metric_and_label_that_the_dashboard_asks_for_is_there(
    service: Service, queries: list[str], tmp_path: Path
) -> None:
    for shift in (0.0, 0.25):
        service.publish("colours", onnx_files.write_colour_net(tmp_path / f"{shift}.onnx", shift=shift))
    shadowed = {"version": 1, "shadow": {"version": 2, "share": 1.0}}
    service.http.put("/models/colours/aliases/live", json=shadowed).raise_for_status()
    for model, explain in (("colours@live", False), ("colours", True)):
        answer = service.http.post(
            "/predict",
            params={"model": model, "explain": explain},
            content=a_plain_image(RED),
            headers={"Content-Type": "image/png"},
        )
        assert answer.status_code == 200
    deadline = time.monotonic() + PATIENCE_S
    while "espalier_shadow_examples_total" not in (found := read(service)):
        assert time.monotonic() < deadline, "the shadow was not asked"
        time.sleep(0.02)

    assert len(queries) > 18
    for query in queries:
        for name in NAME.findall(query):
            # devices are shown where there is a worker
            assert name in found or name == "espalier_worker_devices", name
            known = {label for labels, _ in found.get(name, []) for label in labels}
            if known and name.startswith("espalier_"):
                assert labels_in(query) <= known | {"le"}, query


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_itself_reads_the_configuration_and_the_queries(queries: list[str], tmp_path: Path) -> None:
    key, config, rules = tmp_path / "metrics_key", tmp_path / "prometheus.yml", tmp_path / "rules.yml"
    key.write_text("a key")
    config.write_text((ROOT / "docker/prometheus.yml").read_text().replace("/etc/prometheus/metrics_key", str(key)))
    recorded = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}))  # JSON is YAML too

    for what, path in (("config", config), ("rules", rules)):
        checked = subprocess.run([str(PROMTOOL), "check", what, str(path)], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_monitoring_is_optional_and_for_this_host_alone(compose: dict[str, Any]) -> None:
    for name in ("prometheus", "grafana"):
        service = compose["services"][name]
        assert service["profiles"] == ["monitoring"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for given in service["configs"]:
            config = compose["configs"][given["source"]]
            assert "content" in config or (ROOT / config["file"]).is_file()


def test_prometheus_reads_the_api_with_the_key_for_the_counters(compose: dict[str, Any]) -> None:
    (job,) = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text())["scrape_configs"]

    assert job["static_configs"] == [{"targets": ["api:8000"]}]
    targets = {each["target"]: each["source"] for each in compose["services"]["prometheus"]["configs"]}
    assert compose["configs"][targets[job["authorization"]["credentials_file"]]] == {"content": "${METRICS_KEY:-}"}
