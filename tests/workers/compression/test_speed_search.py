import pytest

from workers.compression.speed_search import NEAR_ENOUGH, TOLERANCE, Probe, best, search

STEPS = 40


def work(count: int) -> float:
    """How many times less work there is: a net whose every step takes a fortieth of its channels but one."""
    return (STEPS / (STEPS + 1 - count)) ** 2 if count else 1.0


class Measured:
    """A machine on which the time goes as a power of the work; it remembers what it was asked."""

    def __init__(self, power: float) -> None:
        self.power = power
        self.counts: list[int] = []

    def __call__(self, count: int) -> float:
        self.counts.append(count)
        return work(count) ** self.power


@pytest.mark.parametrize("power", [0.5, 0.8, 1.0, 1.3])
@pytest.mark.parametrize("target", [1.3, 2.0, 3.0, 5.0])
def test_a_speedup_is_found_in_a_handful_of_measurements(power: float, target: float) -> None:
    measure = Measured(power)

    probes = search(STEPS, target=target, work=work, measure=measure)

    assert best(probes, target=target).misses(target) <= TOLERANCE
    assert len(measure.counts) <= 5
    assert [probe.count for probe in probes] == measure.counts


def test_where_time_goes_as_work_the_first_guess_is_enough() -> None:
    measure = Measured(1.0)

    probes = search(STEPS, target=2.0, work=work, measure=measure)

    assert len(probes) == 1
    assert probes[0].misses(2.0) <= NEAR_ENOUGH


def test_what_is_out_of_reach_is_known_when_everything_was_cut() -> None:
    measure = Measured(0.3)

    probes = search(STEPS, target=20.0, work=work, measure=measure)

    assert best(probes, target=20.0) == Probe(STEPS, work(STEPS) ** 0.3)
    assert len(measure.counts) <= 2


def test_neighbours_with_nothing_in_between_end_the_search() -> None:
    speeds = {1: 1.2, 2: 1.5, 3: 2.6, 4: 3.0}

    probes = search(4, target=2.0, work=lambda count: 1 + count, measure=speeds.__getitem__)

    assert {2, 3} <= {probe.count for probe in probes}
    assert best(probes, target=2.0).misses(2.0) > TOLERANCE


def test_what_an_earlier_attempt_measured_is_not_measured_again() -> None:
    whole, resumed = Measured(0.6), Measured(0.6)

    probes = search(STEPS, target=3.0, work=work, measure=whole)
    known = {probe.count: probe.speedup for probe in probes[:-1]}
    again = search(STEPS, target=3.0, work=work, measure=resumed, known=known)

    assert again == probes
    assert resumed.counts == whole.counts[-1:]


def test_a_machine_that_is_slower_for_a_cut_net_is_told_as_it_is() -> None:
    probes = search(STEPS, target=2.0, work=work, measure=lambda count: 0.8 - 0.001 * count)

    assert all(probe.speedup < 1 for probe in probes)
    assert probes[-1].count == STEPS
