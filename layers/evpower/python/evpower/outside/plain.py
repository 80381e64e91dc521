"""A kept connection to one fixed host with the standard library alone.

Use case: what a cold start must send (a queue's message, the question for its secrets) cannot wait for httpx or boto3
to be imported. Redirects are not followed, no proxy of the environment is used, an answer is bounded.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import http.client

MAX_ANSWER_BYTES = 1024 * 1024


class PlainHttp:
    """Blocking; one request at a time. ``timeout_s`` is for each wait on the network."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._parts = urlsplit(url)
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    @property
    def host(self) -> str:
        """What the Host header says, with the port where it is not the usual one."""
        return self._parts.netloc

    @property
    def is_open(self) -> bool:
        """Whether a connection of an earlier request is kept."""
        return self._connection is not None

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of a POST to ``/``. After a failure the next request opens a new connection.

        Raises:
            OSError: the host cannot be reached, does not answer, or answers nonsense or too much.
        """
        import http.client

        try:
            if self._connection is None:
                is_secure = self._parts.scheme == "https"
                kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
                self._connection = kind(self._parts.netloc, timeout=self._timeout_s)
            self._connection.request("POST", "/", body, dict(headers))
            response = self._connection.getresponse()
            content = response.read(MAX_ANSWER_BYTES + 1)
            if len(content) > MAX_ANSWER_BYTES:
                raise OSError("the answer is too large")
        except http.client.HTTPException as error:
            self.close()
            raise ConnectionError(str(error) or type(error).__name__) from error
        except OSError:
            self.close()
            raise
        return response.status, content

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
