"""Zipf's law as a list of flows."""

from __future__ import annotations

import struct
from collections import Counter

from pylvs.bench.draws import skewed


def test_few_flows_get_most_packets() -> None:
    count = 1 << 14
    drawn = struct.unpack(f"<{count}I", skewed(1024, 1.1, count))
    assert max(drawn) < 1024
    often = [times for _, times in Counter(drawn).most_common()]
    assert 0.1 < often[0] / count < 0.25
    assert sum(often[:100]) > 0.65 * count
    assert len(often) > 900


def test_it_is_the_same_every_time() -> None:
    assert skewed(64, 1.1, 256) == skewed(64, 1.1, 256)
