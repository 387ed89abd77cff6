"""Lists of flows for the driver to follow."""

from __future__ import annotations

from pylvs.bench.driver import DRAWS


def skewed(flows: int, exponent: float, count: int = DRAWS) -> bytes:
    """Draws by Zipf's law: the flow of rank r is as likely as r**-exponent. Neighbours in rank aren't in memory."""
    import numpy

    random = numpy.random.default_rng(1)
    weight = numpy.arange(1, flows + 1, dtype=float) ** -exponent
    total = numpy.cumsum(weight)
    ranks = numpy.searchsorted(total, random.random(count) * total[-1])
    drawn: bytes = random.permutation(flows)[ranks].astype("<u4").tobytes()
    return drawn
