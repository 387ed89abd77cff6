"""The real server of a lab, a process of its own: HTTP that says who answered, and the same over UDP.

    GET /               `hello RIP` and a newline
    GET /big?bytes=N    N bytes, always the same ones (see `pattern`), at most 1 GB
    PUT / or POST /     the SHA-256 of the body in hex, and a newline
    a UDP datagram      `hello RIP`

It answers on every address of its node: a DR server is spoken to as the VIP.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import selectors
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from socketserver import TCPServer
from urllib.parse import parse_qs, urlsplit

PORTS = (80, 8080)
READY = b"ready\n"
MOST_BYTES = 10**9
_CHUNK = 1 << 20
_BACKLOG = 1024
_IP_PKTINFO = 8  # not in the socket module before Python 3.12


def pattern(count: int) -> Iterator[bytes]:
    """The `count` bytes of GET /big?bytes=`count`, in chunks: random to look at, the same every time."""
    for number, start in enumerate(range(0, count, _CHUNK)):
        yield Random(number).randbytes(_CHUNK)[: count - start]  # noqa: S311 - a pattern, no secret


class Listener(ThreadingHTTPServer):
    """One listening port. Hundreds of clients may connect at once."""

    request_queue_size = _BACKLOG
    daemon_threads = True

    def __init__(self, port: int, hello: bytes) -> None:
        self.hello = hello
        super().__init__(("", port), Handler)

    def server_bind(self) -> None:
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
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self.socket.bind(("", port))

    def answer(self) -> None:
        _, ancillary, _, client = self.socket.recvmsg(65535, socket.CMSG_SPACE(12))
        for level, kind, info in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                # The interface is left to routing, the source is the local address that was asked.
                source = bytes(4) + info[4:8] + bytes(4)
                self.socket.sendmsg([self.hello], [(level, kind, source)], 0, client)


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
