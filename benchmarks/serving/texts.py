"""Served speed of short texts: one text in each request, on 32 connections, beside the limit without HTTP.

    python -m benchmarks.serving.texts [--quick] [--rounds N] [--seconds S] [--fasttext PYTHON]

A bag of n-grams learns from samples/sms_spam.zip, on a stack that runs as `espalier up` starts it; its file takes code
points. wrk posts one text as JSON and as text/plain, on the same cores. The limit is a process on each core that makes
code points of the text with numpy, and runs the file: a bare loop. CPU µs are of all processes of the service.

`--fasttext` is a Python that has fastText: its own `predict` runs in such a loop too, for scale. It is trained on the
same texts, with as many n-grams.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np

from benchmarks.serving import client, processes
from benchmarks.serving.client import Ask
from benchmarks.serving.contest import espalier_up
from benchmarks.serving.processes import Server
from benchmarks.serving.training import trained
from benchmarks.verdict import Goal, conclude, median_ratio

SAMPLE = Path(__file__).parents[2] / "samples" / "sms_spam.zip"
MODEL = "texts"
TEXT = "Sorry, I'll call you later tonight. Did you get the tickets for Friday? Let me know, thanks!"
CONNECTIONS = 32
LEAST_RPS, LEAST_RATIO = 10_000, 0.5
SPEC = {
    "input": {"tokenizer": {"kind": "code_points"}},
    "backbone": {"kind": "ngram_bag"},
    "training": {"epochs": 3},
    "compression": None,
}
OF_FASTTEXT = """
import fasttext, io, sys, time, zipfile, csv, tempfile
rows = csv.DictReader(io.TextIOWrapper(zipfile.ZipFile(sys.argv[1]).open("texts.csv"), "utf-8", newline=""))
with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
    file.writelines("__label__%s %s\\n" % (row["label"], " ".join(row["text"].split())) for row in rows)
    file.flush()
    model = fasttext.train_supervised(file.name, dim=32, wordNgrams=2, bucket=100_000, epoch=3, thread=1, verbose=0)
text, seconds = sys.argv[2], float(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
count, began, before_s = 0, time.perf_counter(), time.process_time()
while time.perf_counter() - began < seconds:
    model.predict(text)
    count += 1
print(count / (time.perf_counter() - began), 1e6 * (time.process_time() - before_s) / count, flush=True)
"""


def main() -> None:
    """Train, measure in turns, and judge."""
    options = _options()
    if needed := client.missing():
        raise SystemExit(needed)
    processes.adopt_orphans()
    processes.end_well_on_sigterm()
    rates: dict[str, list[float]] = {}
    cpu_us: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="texts-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "home").mkdir()
        with espalier_up(folder / "home", folder) as server:
            _train(server)
            file = folder / "fp32.onnx"
            download = f"{server.url}/models/{MODEL}/versions/1/variants/fp32/download"
            file.write_bytes(httpx.get(download, timeout=60).raise_for_status().content)
            for ask in _asks().values():
                client.load(server.url, ask, connections=8, seconds=1, folder=folder)
            for number in range(options.rounds):
                _round(server, file, options, folder=folder, rates=rates, cpu_us=cpu_us)
                print(f"round {number + 1} of {options.rounds}", flush=True)
    figures = {f"{each}, texts/s": statistics.median(values) for each, values in rates.items()}
    figures |= {f"{each}, CPU µs a text": statistics.median(values) for each, values in cpu_us.items()}
    goals = []
    for form in _asks():
        figures[f"{form}, share of the limit"] = median_ratio(rates[form], rates["limit"])
        reached = figures[f"{form}, texts/s"] >= LEAST_RPS
        goals.append(
            Goal(f"{form}, texts/s", "at least", LEAST_RPS)
            if reached
            else Goal(f"{form}, share of the limit", "at least", LEAST_RATIO)
        )
    conclude("serving.texts", figures, goals=goals, binding=not options.quick)


def _train(server: Server) -> None:
    """Let the stack learn the sample."""
    with httpx.Client(base_url=server.url, timeout=120) as http:
        content = {"Content-Type": "application/zip"}
        dataset = http.post("/datasets", content=SAMPLE.read_bytes(), headers=content).raise_for_status().json()["id"]
        trained(http, SPEC | {"name": MODEL, "dataset": dataset})


def _asks() -> dict[str, Ask]:
    body = json.dumps({"model": MODEL, "inputs": [TEXT]}).encode()
    return {
        "JSON": Ask("/predict", body, {"Content-Type": "application/json"}),
        "text/plain": Ask(f"/predict?model={MODEL}", TEXT.encode(), {"Content-Type": "text/plain"}),
    }


def _round(
    server: Server,
    file: Path,
    options: argparse.Namespace,
    *,
    folder: Path,
    rates: dict[str, list[float]],
    cpu_us: dict[str, list[float]],
) -> None:
    for form, ask in _asks().items():
        before_s = processes.cpu_s(server.process.pid)
        load = client.load(server.url, ask, connections=CONNECTIONS, seconds=options.seconds, folder=folder)
        if load.failed:
            raise SystemExit(f"{form}: {load.failed} requests failed")
        rates.setdefault(form, []).append(load.rps)
        spent_s = processes.cpu_s(server.process.pid) - before_s
        cpu_us.setdefault(form, []).append(1e6 * spent_s / (load.rps * max(1, round(options.seconds))))
    own = [sys.executable, "-m", "benchmarks.serving.texts", "--loop", str(file), str(options.seconds)]
    loops = {"limit": own}
    if options.fasttext:
        theirs = [options.fasttext, "-c", OF_FASTTEXT, str(SAMPLE), TEXT, str(options.seconds)]
        loops["fastText"] = theirs
    for name, command in loops.items():
        rate, spent_us = _on_all_cores(command)
        rates.setdefault(name, []).append(rate)
        cpu_us.setdefault(name, []).append(spent_us)


def _on_all_cores(command: Sequence[str]) -> tuple[float, float]:
    """Return the texts/s of a process on each core together, once all of them are ready, and their CPU µs a text."""
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in os.sched_getaffinity(0)
    ]
    for each in running:
        assert each.stdout is not None, "it is a pipe"
        each.stdout.readline()
    for each in running:
        assert each.stdin is not None, "it is a pipe"
        each.stdin.write("\n")
        each.stdin.flush()
    printed = [each.communicate()[0].split() for each in running]
    return sum(float(rate) for rate, _ in printed), statistics.mean(float(spent_us) for _, spent_us in printed)


def _loop(file: str, seconds: float) -> None:
    from workers.export.sessions import open_session  # noqa: PLC0415  the process that asks needs no torch

    session = open_session(Path(file), device="cpu", threads=1)

    def answer() -> None:
        code_points_1L = np.frombuffer(TEXT.encode("utf-32-le"), np.int32)[None]
        session.run(None, {"code_points": code_points_1L})

    for _ in range(100):
        answer()
    print("ready", flush=True)
    sys.stdin.readline()
    count, began, before_s = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        answer()
        count += 1
    spent_s = time.process_time() - before_s
    print(count / (time.perf_counter() - began), 1e6 * spent_s / count, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of a second each, without a verdict")
    parser.add_argument("--rounds", type=int, default=4, help="turns of everything (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of one measurement (%(default)s)")
    parser.add_argument("--fasttext", metavar="PYTHON", help="a Python that has fastText; left out: without it")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    return options


if __name__ == "__main__":
    if sys.argv[1:2] == ["--loop"]:
        _loop(sys.argv[2], float(sys.argv[3]))
    else:
        main()
