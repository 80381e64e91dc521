"""A Sentry that only listens: the events of the envelopes that arrive."""

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SentryStandin:
    """``events`` as they came; ``raw`` is all bytes of them, to be searched for what must not be there."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.raw = ""
        self.dsn = ""

    @contextmanager
    def running(self) -> Iterator["SentryStandin"]:
        """Listen until the end of the block."""
        standin = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/api/7/envelope/":
                    standin.take(body.decode())
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.dsn = f"http://public@127.0.0.1:{server.server_address[1]}/7"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def take(self, envelope: str) -> None:
        """Keep the events of one envelope (https://develop.sentry.dev/sdk/data-model/envelopes/)."""
        self.raw += envelope
        _header, *items = [json.loads(line) for line in envelope.splitlines() if line]
        self.events += [body for item, body in zip(items[::2], items[1::2], strict=True) if item["type"] == "event"]

    def wait(self, number: int, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """The events, when there are at least ``number``."""
        deadline = time.monotonic() + timeout_s
        while len(self.events) < number and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(self.events) >= number, self.raw
        return self.events
