"""The real server of a lab, a process of its own: HTTP that says who answered, and the same over UDP.

    GET /               `hello RIP` and a newline
    GET /client         the address and port that it takes for the client's, and a newline
    GET /big?bytes=N    N bytes, always the same ones (see `pattern`), at most 1 GB
    PUT / or POST /     the SHA-256 of the body in hex, and a newline
    a UDP datagram      `hello RIP`; to `client` the address and port that it takes for the client's

It answers on every address of its node, of both families: a DR server is spoken to as the VIP.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import selectors
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from random import Random
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pylvs.model import Endpoint

PORTS = (80, 443, 8080)
READY = b"ready\n"
MOST_BYTES = 10**9
_CHUNK = 1 << 20
_BACKLOG = 1024
_INFO = struct.Struct("=16sI")  # in6_pktinfo: an address, and an interface's index


def pattern(count: int) -> Iterator[bytes]:
    """The `count` bytes of GET /big?bytes=`count`, in chunks: random to look at, the same every time."""
    for number, start in enumerate(range(0, count, _CHUNK)):
        yield Random(number).randbytes(_CHUNK)[: count - start]  # noqa: S311 - a pattern, no secret


def endpoint(address: tuple[Any, ...]) -> str:
    """A socket's address as text, without what makes an IPv4 one look like IPv6."""
    host, port = ip_address(address[0].partition("%")[0]), int(address[1])
    return str(Endpoint(getattr(host, "ipv4_mapped", None) or host, port))


class Listener(ThreadingHTTPServer):
    """One listening port for both families. Hundreds of clients may connect at once."""

    address_family = socket.AF_INET6
    request_queue_size = _BACKLOG
    daemon_threads = True

    def __init__(self, port: int, hello: bytes) -> None:
        self.hello = hello
        super().__init__(("", port), Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)  # HTTPServer's own looks the host's name up, which takes long without a DNS

    def handle_error(self, *_: object) -> None:
        """A client that goes away is nothing to tell."""


class Handler(BaseHTTPRequestHandler):
    """One client's requests, over one connection as long as it likes."""

    server: Listener
    protocol_version = "HTTP/1.1"
    server_version = "pylvs-lab"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/":
            self._answer(self.server.hello)
        elif url.path == "/client":
            self._answer(f"{endpoint(self.client_address)}\n".encode())
        elif url.path == "/big":
            self._answer_big(parse_qs(url.query).get("bytes", [""])[0])
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_PUT(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self.close_connection = True
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return
        digest = self._read(int(length))
        if digest:
            self._answer(f"{digest}\n".encode())

    do_POST = do_PUT  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        """Silence: a lab's answers are its log."""

    def _answer(self, body: bytes) -> None:
        self._start(len(body))
        self.wfile.write(body)

    def _answer_big(self, wanted: str) -> None:
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 20 and int(wanted) <= MOST_BYTES):
            self.send_error(HTTPStatus.BAD_REQUEST, f"bytes: 0 to {MOST_BYTES}")
            return
        self._start(int(wanted))
        for chunk in pattern(int(wanted)):
            self.wfile.write(chunk)

    def _start(self, length: int) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _read(self, left: int) -> str:
        """The body's digest; empty when the client goes away in the middle of it."""
        digest = hashlib.sha256()
        while left:
            chunk = self.rfile.read(min(left, _CHUNK))
            if not chunk:
                self.close_connection = True
                return ""
            digest.update(chunk)
            left -= len(chunk)
        return digest.hexdigest()


class Responder:
    """One UDP port on every address; an answer leaves from the address that was asked."""

    def __init__(self, port: int, hello: bytes) -> None:
        self.hello = hello
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self.socket.bind(("", port))

    def answer(self) -> None:
        asked, ancillary, _, client = self.socket.recvmsg(65535, socket.CMSG_SPACE(_INFO.size))
        answer = endpoint(client).encode() if asked == b"client" else self.hello
        for level, kind, info in ancillary:
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                # The interface is left to routing, the source is the local address that was asked.
                source = _INFO.pack(_INFO.unpack(info)[0], 0)
                self.socket.sendmsg([answer], [(level, kind, source)], 0, client)


def main(arguments: Sequence[str] | None = None) -> None:
    """Listen, say so on stdout, and serve until killed."""
    parser = argparse.ArgumentParser(prog="pylvs.lab.server", description="The real server of a pylvs lab.")
    parser.add_argument("--lab", required=True, help="for whoever reads the process list")
    parser.add_argument("--node", required=True, help="likewise")
    parser.add_argument("--rip", required=True, help="what it says hello as")
    rip = parser.parse_args(arguments).rip
    listeners = [Listener(port, f"hello {rip}\n".encode()) for port in PORTS]
    responders = [Responder(port, f"hello {rip}".encode()) for port in PORTS]
    for listener in listeners:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
    _tell_ready()
    _respond(responders)


def _tell_ready() -> None:
    """Whoever waits reads READY, then the end of the pipe."""
    os.write(1, READY)
    os.dup2(2, 1)


def _respond(responders: Sequence[Responder]) -> None:
    with selectors.DefaultSelector() as selector:
        for responder in responders:
            selector.register(responder.socket, selectors.EVENT_READ, responder)
        while True:
            for key, _ in selector.select():
                _answer(key.data)


def _answer(responder: Responder) -> None:
    with suppress(OSError):  # an earlier answer was refused, or there is no way back: not the server's affair
        responder.answer()


if __name__ == "__main__":
    main()
