"""A file server on loopback: what an object store with signed addresses looks like to a charger."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """``files`` by path: GET reads them, PUT writes them; paths under ``/refused`` answer 403."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.url = ""

    @contextmanager
    def running(self) -> Iterator["FileServer"]:
        """Serve until the end of the block."""
        files = self.files

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = files.get(self.path)
                self._answer(404 if content is None else 200, content or b"")

            def do_PUT(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path.startswith("/refused"):
                    self._answer(403)
                else:
                    files[self.path] = content
                    self._answer(200)

            def _answer(self, status: int, content: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the tests' output clean."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)
