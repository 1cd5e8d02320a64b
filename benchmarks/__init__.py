"""Benchmarks, one command each: `python -m benchmarks.NAME`. This package is where every one of them starts."""

from models_store.host import telemetry

telemetry.turn_off()
