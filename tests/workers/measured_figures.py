"""Made-up figures of a measured variant."""

from typing import Any

from workers.export.figures import Figures

RIGHT_OF_FP32 = 0.95


def measured(accuracy: float, speedup: float = 1.0, **changes: Any) -> Figures:
    """Return figures whose intervals are narrow: a speedup of 2 is one beyond noise."""
    drop = RIGHT_OF_FP32 - accuracy
    figures = {
        "accuracy": {"val": accuracy},
        "accuracy_drop": drop,
        "accuracy_drop_interval": (drop - 0.01, drop + 0.01),
        "agreement": 1.0,
        "latency_ms": {"p50": 1.0, "p95": 1.0},
        "throughput": {"1": 1000.0},
        "speedup": speedup,
        "speedup_interval": (0.98 * speedup, 1.02 * speedup),
        "parent_speedup": speedup,
        "parent_speedup_interval": (0.98 * speedup, 1.02 * speedup),
        "load_ms": 1.0,
        "peak_memory_bytes": 1,
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "host": {},
        "measured_at": "2026-01-01T00:00:00+00:00",
    }
    return Figures(**(figures | changes))
