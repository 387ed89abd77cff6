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

_TRIAL = 500
_WARM_UP = 0.15
"""Of a round: other cases have driven this one's memory out of the caches."""


def measure(cases: Sequence[Case], plan: Plan, step: Callable[[], None]) -> dict[Subject, list[float]]:
    """Nanoseconds a packet of each round."""
    import numpy

    samples: dict[Subject, list[float]] = {case.subject: [] for case in cases}
    for turn in range(plan.rounds):
        for number in numpy.random.default_rng(turn).permutation(len(cases)):
            case = cases[number]
            samples[case.subject].append(_round(case, plan.milliseconds))
            step()
    return samples


def _round(case: Case, milliseconds: float) -> float:
    if case.director:
        case.director.start()
    try:
        packets = case.packets or int(milliseconds * 1e6 / case.driver.run(_TRIAL)) + 1
        warm_up = int(packets * _WARM_UP) + 1
        case.driver.run(warm_up)
        return case.driver.run(packets - warm_up if case.packets else packets)
    finally:
        if case.director:
            case.director.stop()


def miss(interface: Interface, plan: Plan) -> float:
    """Nanoseconds of one load that has to wait for memory."""
    program = Alone(Hook.XDP, interface, chase(plan.lines))
    try:
        program.run(100)
        return median(program.run(500) / CHASE_STEPS for _ in range(plan.rounds))
    finally:
        program.close()
