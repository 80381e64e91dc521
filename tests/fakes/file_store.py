"""A file store in memory that gives links which nobody can follow."""

from datetime import timedelta

from evpower.clock import Clock
from evpower.storage.store import SignedLink, StoredFile


class MemoryFileStore:
    """``files`` by key; a test puts there what a charger or an operator would upload."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.files: dict[str, StoredFile] = {}
        self.deleted: list[str] = []

    def put(self, key: str, size_bytes: int, sha256: str | None = None) -> None:
        """What an upload to ``key`` leaves."""
        self.files[key] = StoredFile(size_bytes, self._clock.now(), sha256)

    async def upload_link(
        self, key: str, lifetime: timedelta, *, size_bytes: int | None = None, sha256: str | None = None
    ) -> SignedLink:
        headers = {} if size_bytes is None else {"Content-Length": str(size_bytes)}
        return self._link("PUT", key, lifetime, headers)

    async def download_link(self, key: str, lifetime: timedelta, *, file_name: str | None = None) -> SignedLink:
        return self._link("GET", key, lifetime, {})

    def _link(self, method: str, key: str, lifetime: timedelta, headers: dict[str, str]) -> SignedLink:
        url = f"https://files.example/{key}?X-Amz-Signature=secret"
        return SignedLink(url, method, self._clock.now() + lifetime, headers)

    async def find(self, key: str) -> StoredFile | None:
        return self.files.get(key)

    async def delete(self, key: str) -> None:
        self.files.pop(key, None)
        self.deleted.append(key)
