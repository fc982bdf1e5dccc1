"""A real HTTP server on 127.0.0.1 that serves one file, well or badly."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]
"""Answers one request."""


@dataclass
class Shop:
    """What is served, and what was asked for.

    Attributes:
        content: Bytes of the file.
        answers: to the first requests, in order; all later ones are answered well.
        ranges: the header ``Range`` of each request, empty if it had none.
        url: Address of the file.
        stalled: set when `stall_after` has sent its part; released at the end.
    """

    content: bytes
    answers: list[Answer] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    url: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    shop: Shop

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that disconnect."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        shop = self.server.shop
        shop.ranges.append(self.headers.get("Range", ""))
        (shop.answers.pop(0) if shop.answers else serve)(self)

    @property
    def start(self) -> int:
        """First byte that is asked for."""
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])

    def send_head(self, status: int, headers: dict[str, str | int]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()


@contextlib.contextmanager
def open_shop(content: bytes, *answers: Answer) -> Iterator[Shop]:
    shop = Shop(content, list(answers))
    with Server(("127.0.0.1", 0), Handler) as server:
        server.shop = shop
        shop.url = f"http://127.0.0.1:{server.server_address[1]}/file.zip"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield shop
        finally:
            shop.released.set()
            server.shutdown()
            thread.join()


def serve(handler: Handler) -> None:
    """As it should be: the range that is asked for, or 416."""
    content, start = handler.server.shop.content, handler.start
    if start >= len(content):
        answer(416)(handler)
    elif start:
        _send_partial(handler, content[start:], f"bytes {start}-{len(content) - 1}/{len(content)}")
    else:
        _send_whole(handler, content, len(content))


def ignore_range(handler: Handler) -> None:
    _send_whole(handler, handler.server.shop.content, len(handler.server.shop.content))


def cut_after(n_bytes: int) -> Answer:
    """Announces all that is left, sends some of it and closes the connection."""

    def answer_cut(handler: Handler) -> None:
        content, start = handler.server.shop.content, handler.start
        body = content[start : start + n_bytes]
        if start:
            _send_partial(handler, body, f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            _send_whole(handler, body, len(content))
        handler.close_connection = True

    return answer_cut


def stall_after(n_bytes: int, announced: int) -> Answer:
    """Announces many bytes, sends some, then sends nothing and stays."""

    def answer_stalling(handler: Handler) -> None:
        shop = handler.server.shop
        _send_whole(handler, shop.content[:n_bytes], announced)
        handler.wfile.flush()
        shop.stalled.set()
        shop.released.wait(60)

    return answer_stalling


def claim_range(content_range: str) -> Answer:
    """206 with this header, whatever was asked for."""
    return lambda handler: _send_partial(handler, handler.server.shop.content[handler.start :], content_range)


def send_endless(handler: Handler) -> None:
    """Chunks without end, and no length announced."""
    handler.send_head(200, {"Transfer-Encoding": "chunked"})
    while not handler.server.shop.released.is_set():
        handler.wfile.write(b"1000\r\n" + bytes(0x1000) + b"\r\n")


def answer(status: int, **headers: str) -> Answer:
    """This status, and no file."""
    names: dict[str, str | int] = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.send_head(status, {**names, "Content-Length": 0})


def _send_whole(handler: Handler, body: bytes, announced: int) -> None:
    handler.send_head(200, {"Content-Length": announced})
    handler.wfile.write(body)


def _send_partial(handler: Handler, body: bytes, content_range: str) -> None:
    handler.send_head(206, {"Content-Length": len(body), "Content-Range": content_range})
    handler.wfile.write(body)
    handler.close_connection = True
