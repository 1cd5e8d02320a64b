"""Made-up cards of variants, as a version's variants have them: accepted, refused, size only, for two providers."""

from typing import Any

HOST = {"device": "AMD EPYC 9B14", "features": ["avx2", "avx512_vnni"], "onnxruntime": "1.31.1"}
ONNXRUNTIME_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def figures(accuracy: float, p50_ms: float, *, provider: str = "cpu", reasons: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "accuracy": {"val": accuracy, "test": accuracy - 0.01},
        "agreement": 0.98,
        "latency_ms": {"p50": p50_ms, "p95": 1.2 * p50_ms},
        "throughput": {"1": 1000 / p50_ms, "8": 1100 / p50_ms, "32": 1200 / p50_ms},
        "speedup": 4 / p50_ms,
        "speedup_interval": [3.8 / p50_ms, 4.2 / p50_ms],
        "parent_speedup": 1.25,
        "parent_speedup_interval": [1.2, 1.3],
        "load_ms": 31.0,
        "peak_memory_bytes": 91_000_000,
        "provider": ONNXRUNTIME_NAMES[provider],
        "threads": 1,
        "host": HOST,
        "measured_at": "2026-11-22T10:00:00+00:00",
        "accuracy_drop": 0.95 - accuracy,
        "accuracy_drop_interval": [0.94 - accuracy, 0.96 - accuracy],
        "accepted": not reasons,
        "reasons": list(reasons),
    }


def a_card(name: str, measured: dict[str, Any], *, size_bytes: int, **more: Any) -> dict[str, Any]:
    given = {"parent": "fp32", "made_by": None, "size_only": False} | more
    sizes = {"size_bytes": size_bytes, "compressed_bytes": size_bytes * 9 // 10}
    return {"kind": name} | given | sizes | {"measured": measured}


CARDS = {
    "fp32": a_card(
        "fp32",
        {"cpu": figures(0.95, 4.0), "cuda": figures(0.95, 1.0, provider="cuda")},
        size_bytes=18_750_000,
        parent=None,
    ),
    "pruned": a_card(
        "pruned",
        {"cpu": figures(0.90, 2.0, reasons=("loses 0.0500 of accuracy on the validation split",))},
        size_bytes=7_000_000,
        made_by={"kind": "structured", "target_speedup": 2.0},
        stopped="loses 0.0500 of accuracy on the validation split",
        pruning={
            "macs_before": 400,
            "macs_after": 100,
            "probes": [{"ratio": 0.25, "speedup": 1.61}, {"ratio": 0.4, "speedup": 2.03}],
        },
    ),
    "control": a_card(
        "control", {"cpu": figures(0.951, 4.0, reasons=("is not faster than fp32",))}, size_bytes=18_750_000
    ),
    "int8": a_card(
        "int8",
        {"cpu": figures(0.95, 1.9), "cuda": {"unmeasurable": "no kernel for <DequantizeLinear>"}},
        size_bytes=5_200_000,
        made_by={"kind": "static_int8", "per_channel": True},
        per_channel=True,
        layers=3,
    ),
    "mixed-int8": a_card(
        "mixed-int8", {"cpu": figures(0.95, 2.1)}, size_bytes=6_000_000, float_layers=["stem", "head.1"]
    ),
    "sparse": a_card(
        "sparse",
        {"cpu": figures(0.949, 4.1, reasons=("is not faster than fp32: 0.98 times its speed",))},
        size_bytes=18_750_000,
        size_only=True,
    ),
}
DEFAULTS = {"cpu": "int8", "cuda": "fp32"}
NOT_MADE = {"qat-int8": "the net's weights are not finite; train it again with a lower `optimizer.lr`"}
