from pathlib import Path

import pytest

from workers.export.hardware import cpu, host

X86 = "processor : 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512_vnni sse\nprocessor : 1\nflags : fpu\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(("cpuinfo", "features"), [(X86, ["avx2", "avx512_vnni"]), (ARM, ["asimd", "asimddp", "i8mm"])])
def test_the_features_that_decide_what_is_fast_are_told(tmp_path: Path, cpuinfo: str, features: list[str]) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)

    model, found = cpu(tmp_path / "cpuinfo")

    assert found == features
    assert model


def test_the_model_is_told() -> None:
    assert host("cpu")["device"]
    assert host("cpu")["onnxruntime"]


def test_a_system_without_cpuinfo_tells_what_python_knows(tmp_path: Path) -> None:
    model, features = cpu(tmp_path / "cpuinfo")

    assert model
    assert features == []
