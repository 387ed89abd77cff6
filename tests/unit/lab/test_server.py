"""The lab's real server, on this host's own loopback."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from pylvs.lab.server import MOST_BYTES, Listener, Responder, endpoint, pattern


@pytest.fixture
def http() -> Iterator[HTTPConnection]:
    with Listener(0, b"hello RIP\n") as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        connection = HTTPConnection("127.0.0.1", listener.server_address[1], timeout=5)
        yield connection
        connection.close()
        listener.shutdown()
        thread.join()


def ask(http: HTTPConnection, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    http.request(method, path, body)
    response = http.getresponse()
    return response.status, response.read()


def test_hello_as_often_as_one_likes_over_one_connection(http: HTTPConnection) -> None:
    assert [ask(http, "GET", "/") for _ in range(3)] == [(200, b"hello RIP\n")] * 3
    assert http.sock is not None


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_big_has_the_pattern(http: HTTPConnection, size: int) -> None:
    assert ask(http, "GET", f"/big?bytes={size}") == (200, b"".join(pattern(size)))


@pytest.mark.parametrize("query", ["", "?bytes=", "?bytes=-1", "?bytes=x", f"?bytes={MOST_BYTES + 1}"])
def test_big_refuses(http: HTTPConnection, query: str) -> None:
    assert ask(http, "GET", f"/big{query}")[0] == 400
    assert ask(http, "GET", "/") == (200, b"hello RIP\n")


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("body", [b"", b"x", bytes(3_000_000)], ids=["empty", "short", "long"])
def test_digest_of_a_body(http: HTTPConnection, method: str, body: bytes) -> None:
    assert ask(http, method, "/", body) == (200, f"{hashlib.sha256(body).hexdigest()}\n".encode())


def test_a_body_without_a_length(http: HTTPConnection) -> None:
    """It is refused by its head: a client that went on to send the body might find the connection closed."""
    http.putrequest("PUT", "/")
    http.putheader("Transfer-Encoding", "chunked")
    http.endheaders()
    assert http.getresponse().status == 411


def test_not_found(http: HTTPConnection) -> None:
    assert ask(http, "GET", "/elsewhere")[0] == 404


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_pattern_is_as_long_as_asked_and_always_the_same(size: int) -> None:
    assert len(b"".join(pattern(size))) == size
    assert b"".join(pattern(size)) == b"".join(pattern(size + 5))[:size]


@pytest.mark.parametrize("there", ["127.0.0.2", "::1"])
def test_the_client_is_told_who_it_is_taken_for(there: str) -> None:
    with Listener(0, b"hello RIP\n") as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        connection = HTTPConnection(there, listener.server_address[1], timeout=5)
        assert ask(connection, "GET", "/client") == (200, f"{endpoint(connection.sock.getsockname())}\n".encode())
        connection.close()
        listener.shutdown()
        thread.join()


ENDPOINTS = {
    "IPv4": (("10.0.0.1", 80), "10.0.0.1:80"),
    "IPv4 to a socket for both": (("::ffff:10.0.0.1", 80, 0, 0), "10.0.0.1:80"),
    "IPv6": (("fd00::1", 80, 0, 0), "[fd00::1]:80"),
    "IPv6 with a scope": (("fe80::1%lo", 80, 0, 1), "[fe80::1]:80"),
}


@pytest.mark.parametrize(("address", "expected"), ENDPOINTS.values(), ids=ENDPOINTS)
def test_endpoint(address: tuple[str, int], expected: str) -> None:
    assert endpoint(address) == expected


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")])
def test_udp_answers_from_the_address_that_was_asked(family: socket.AddressFamily, host: str) -> None:
    responder = Responder(0, b"hello RIP")
    with responder.socket, socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        there = (host, responder.socket.getsockname()[1])
        client.sendto(b"?", there)
        responder.answer()
        said, asked = client.recvfrom(100)
        assert (said, asked[:2]) == (b"hello RIP", there)
        client.sendto(b"client", there)
        responder.answer()
        assert (
            client.recv(100)
            == f"{f'[{host}]' if family == socket.AF_INET6 else '127.0.0.1'}:{client.getsockname()[1]}".encode()
        )
