"""The order of a listing: by differences of 32-bit numbers, which wrap, so that 200.0.0.1 comes before 1.0.0.1.

Such a comparison is not transitive. What comes out then depends on the order that went in and on the way of sorting:
a merge sort whose first half is the shorter one, as the C library's.
"""

from __future__ import annotations

from itertools import zip_longest

from pylvs.model import FirewallMark, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pylvs.model import Endpoint, ServerSnapshot, ServiceId, ServiceSnapshot

    Key = tuple[int, ...]

_HALF = 2**31
_WORD = 2**32 - 1


def services_in_order(services: Iterable[ServiceSnapshot]) -> list[ServiceSnapshot]:
    """By mark (services without one are 0), family, protocol, address, port."""
    items = list(services)
    return [items[i] for i in _order([_service_key(item.service.id) for item in items])]


def servers_in_order(servers: Iterable[ServerSnapshot]) -> list[ServerSnapshot]:
    """By address and port, whatever the family."""
    items = list(servers)
    return [items[i] for i in _order([_endpoint_key(item.server.endpoint) for item in items])]


def _service_key(id: ServiceId) -> Key:
    if isinstance(id, FirewallMark):
        return (id.mark, id.family, Protocol.TCP)
    return (0, id.family, id.protocol, *_endpoint_key(id.endpoint))


def _endpoint_key(endpoint: Endpoint) -> Key:
    """Four words of address and the port. An IPv4 address is the first word, and so falls in among those of IPv6."""
    address = int(endpoint.address)
    if endpoint.address.version == 4:
        return (address, 0, 0, 0, endpoint.port)
    return (address >> 96, address >> 64 & _WORD, address >> 32 & _WORD, address & _WORD, endpoint.port)


def _order(keys: Sequence[Key]) -> list[int]:
    """The places of the keys, sorted. Without a difference that wraps any stable sort will do, and fast."""
    places = list(range(len(keys)))
    if _spread(keys):
        return _merge_sort(places, keys)
    places.sort(key=keys.__getitem__)
    return places


def _spread(keys: Sequence[Key]) -> bool:
    """Whether two keys could be so far apart that their difference wraps."""
    columns = zip_longest(*keys, fillvalue=0)
    return any(max(numbers) - min(numbers) >= _HALF for numbers in columns)


def _merge_sort(places: list[int], keys: Sequence[Key]) -> list[int]:
    if len(places) < 2:
        return places
    middle = len(places) // 2
    left, right = _merge_sort(places[:middle], keys), _merge_sort(places[middle:], keys)
    merged, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if _compare(keys[left[i]], keys[right[j]]) <= 0:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]


def _compare(one: Key, other: Key) -> int:
    """The first difference, as a signed 32-bit number."""
    for a, b in zip(one, other, strict=False):
        if a != b:
            return (a - b + _HALF) % (2 * _HALF) - _HALF
    return 0
