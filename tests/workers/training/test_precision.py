"""Which precision `auto` takes on a CPU, and how long it may look for it."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.workers.training_runs import CPU, Recorder, same_weights, ticking
from workers.process.progress import Drained
from workers.training import precision
from workers.training.precision import Precision, choose

BATCH = 16


class Passes(list[tuple[int, bool]]):
    """What copies of a net note together."""

    def __deepcopy__(self, memo: object) -> "Passes":
        return self


class Counting(nn.Module):
    """A net that notes how many examples each forward pass had, and in which numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.drop = nn.Dropout(0.5)
        self.passes = Passes()

    def forward(self, inputs_BF: Tensor) -> Tensor:
        self.passes.append((len(inputs_BF), torch.is_autocast_enabled("cpu")))
        logits_BK: Tensor = self.drop(self.layer(inputs_BF))
        return logits_BK


def sample(count: int) -> tuple[Tensor, Tensor]:
    return torch.ones(count, 4), torch.zeros(count, dtype=torch.long)


def auto(
    net: nn.Module, *, clock: Callable[[], float], reporter: Recorder | None = None, steps_ahead: int = 10_000
) -> Precision:
    return choose(
        "auto",
        net,
        device=CPU,
        sample=sample,
        batch=BATCH,
        steps_ahead=steps_ahead,
        reporter=reporter or Recorder(),
        clock=clock,
    )


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the CPU at hand taken for one that has bf16."""
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)


@pytest.fixture
def without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the CPU at hand taken for one that emulates bf16."""
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)


@pytest.mark.usefixtures("without_bf16")
def test_a_cpu_that_emulates_bf16_is_not_asked_to_try_it() -> None:
    net = Counting()

    found = auto(net, clock=ticking())

    assert (found.name, net.passes) == ("fp32", [])


@pytest.mark.usefixtures("without_bf16")
def test_bf16_on_a_cpu_that_emulates_it_is_granted_with_a_warning() -> None:
    reporter = Recorder()

    found = choose("bf16", Counting(), device=CPU, sample=sample, batch=BATCH, steps_ahead=10_000, reporter=reporter)

    assert found.name == "bf16"
    assert "emulates" in reporter.lines[0]


@pytest.mark.usefixtures("with_bf16")
def test_bf16_on_a_cpu_that_has_it_needs_no_warning() -> None:
    reporter = Recorder()

    choose("bf16", Counting(), device=CPU, sample=sample, batch=BATCH, steps_ahead=10_000, reporter=reporter)

    assert reporter.lines == []


@pytest.mark.usefixtures("with_bf16")
@pytest.mark.parametrize(("faster", "taken"), [("bf16", "bf16"), ("fp32", "fp32"), ("neither", "fp32")])
def test_the_faster_precision_is_taken_and_fp32_when_neither_is(faster: str, taken: str) -> None:
    now = 0.0
    net = Counting()

    def clock() -> float:
        """Let a pass take 2 ms when it was in the faster precision, else 4 ms."""
        nonlocal now
        if net.passes:
            is_bf16 = net.passes[-1][1]
            now += 0.002 if faster == ("bf16" if is_bf16 else "fp32") else 0.004
        return now

    assert auto(net, clock=clock).name == taken
    assert max(count for count, _ in net.passes) == BATCH


@pytest.mark.usefixtures("with_bf16")
def test_a_probe_whose_steps_are_slow_stays_with_few_examples_and_ends() -> None:
    net, reporter = Counting(), Recorder()

    auto(net, clock=ticking(seconds=5.0), reporter=reporter)

    assert len(net.passes) == 4  # a warm-up and a step of each
    assert max(count for count, _ in net.passes) < BATCH


@pytest.mark.usefixtures("with_bf16")
def test_a_probe_reports_before_each_of_its_steps() -> None:
    net, reporter = Counting(), Recorder()

    auto(net, clock=ticking(seconds=0.001), reporter=reporter)

    assert [facts["step"] for facts in reporter.facts] == ["precision"] * len(net.passes)


@pytest.mark.usefixtures("with_bf16")
def test_a_probe_obeys_a_stop() -> None:
    with pytest.raises(Drained):
        auto(Counting(), clock=ticking(), reporter=Recorder(stop_after=2))


@pytest.mark.usefixtures("with_bf16")
def test_a_probe_leaves_the_net_and_the_generators_as_they_were() -> None:
    net, twin = Counting(), Counting()
    twin.load_state_dict(net.state_dict())
    state = torch.get_rng_state()

    auto(net, clock=ticking(seconds=0.001))

    assert same_weights(net, twin)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("with_bf16")
def test_a_short_run_is_not_worth_a_probe() -> None:
    net = Counting()

    assert auto(net, clock=ticking(), steps_ahead=20).name == "fp32"
    assert net.passes == []


@pytest.mark.slow
@pytest.mark.parametrize("instructions", ["AVX2", "AVX2_VNNI_2", "SSE41", "AVX512_CORE", "avx512_core_vnni"])
def test_onednn_held_to_older_instructions_counts_as_a_cpu_without_bf16(instructions: str) -> None:
    program = textwrap.dedent("""
        import json
        from workers.training.precision import cpu_has_bf16
        print(json.dumps(cpu_has_bf16()))
    """)

    answer = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": instructions},
    )

    assert json.loads(answer.stdout) is False
