"""Running the cases: round after round in changing order, so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

from statistics import median

from pylvs.bench.driver import Alone, Hook
from pylvs.bench.subject import CHASE_STEPS, chase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylvs.bench.case import Case, Plan
    from pylvs.bench.result import Subject
    from pylvs.director.ebpf.attach import Interface

_TRIAL = 2000
_WARM_UP = 0.1
"""Of a round: other cases have driven this one's memory out of the caches."""


def measure(cases: Sequence[Case], plan: Plan, step: Callable[[], None]) -> dict[Subject, list[int]]:
    """Nanoseconds a packet of each round."""
    import numpy

    samples: dict[Subject, list[int]] = {case.subject: [] for case in cases}
    packets = [case.packets or _packets(case, plan.milliseconds) for case in cases]
    for turn in range(plan.rounds):
        for number in numpy.random.default_rng(turn).permutation(len(cases)):
            case = cases[number]
            samples[case.subject].append(_round(case, packets[number]))
            step()
    return samples


def _packets(case: Case, milliseconds: float) -> int:
    return int(milliseconds * 1e6 / max(1, _run(case, _TRIAL))) + 1


def _run(case: Case, *runs: int) -> int:
    """The result of the last one."""
    if case.director:
        case.director.start()
    try:
        return [case.driver.run(packets) for packets in runs][-1]
    finally:
        if case.director:
            case.director.stop()


def _round(case: Case, packets: int) -> int:
    warm_up = int(packets * _WARM_UP) + 1
    return _run(case, warm_up, packets - warm_up)


def miss(interface: Interface, plan: Plan) -> float:
    """Nanoseconds of one load that has to wait for memory."""
    program = Alone(Hook.XDP, interface, chase(plan.lines))
    try:
        program.run(100)
        return median(program.run(500) / CHASE_STEPS for _ in range(plan.rounds))
    finally:
        program.close()
