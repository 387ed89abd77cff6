"""The kernel's two hashes of an address and a port, as the data plane computes them too."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.model import IPAddress

_WORD, _LONG = 2**32 - 1, 2**64 - 1
_GOLDEN_RATIO = 0x61C88647
MAGLEV_KEYS = (2654435761, 2654446892)
"""Each is both halves of a SipHash key: of where a server's order begins, and of its stride."""


def fold(address: IPAddress, port: int = 0) -> int:
    """An address as one word, of IPv6 all four together, and the port added to it."""
    number = int(address)
    return (number ^ number >> 32 ^ number >> 64 ^ number >> 96) + port & _WORD


def multiplied(word: int) -> int:
    """The multiplicative hash of a word, of which the upper bits are used."""
    return word * _GOLDEN_RATIO & _WORD


def siphash(word: int, key: int) -> int:
    """SipHash-1-3 of a word, its lower half."""
    v = [key ^ 0x736F6D6570736575, key ^ 0x646F72616E646F6D, key ^ 0x6C7967656E657261, key ^ 0x7465646279746573]
    block = 4 << 56 | word
    v[3] ^= block
    _round(v)
    v[0] ^= block
    v[2] ^= 0xFF
    for _ in range(3):
        _round(v)
    return (v[0] ^ v[1] ^ v[2] ^ v[3]) & _WORD


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _LONG


def _round(v: list[int]) -> None:
    v[0] = v[0] + v[1] & _LONG
    v[1] = _rotated(v[1], 13) ^ v[0]
    v[0] = _rotated(v[0], 32)
    v[2] = v[2] + v[3] & _LONG
    v[3] = _rotated(v[3], 16) ^ v[2]
    v[0] = v[0] + v[3] & _LONG
    v[3] = _rotated(v[3], 21) ^ v[0]
    v[2] = v[2] + v[1] & _LONG
    v[1] = _rotated(v[1], 17) ^ v[2]
    v[2] = _rotated(v[2], 32)
