"""The story as a readable transcript."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any


class Transcript:
    """Prints lines with the wall clock and the seconds since the story began."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def chapter(self, title: str) -> None:
        """A heading."""
        print(f"\n== {title}", flush=True)

    def line(self, text: str) -> None:
        """One thing that happened."""
        print(f"{datetime.now(UTC):%H:%M:%S} +{time.monotonic() - self._began:5.1f}s  {text}", flush=True)

    def ledger(self, rows: Sequence[dict[str, Any]]) -> None:
        """The ledger as a table, oldest row first."""
        print(f"\n   {'what':<18}{'before':>10}{'amount':>10}{'after':>10}")
        for row in rows:
            print(
                f"   {row['transaction_type']:<18}{row['balance_before']:>10.2f}{row['amount']:>+10.2f}"
                f"{row['balance_after']:>10.2f}"
            )
        total = sum(float(row["amount"]) for row in rows)
        print(f"   {'sum':<28}{total:>+10.2f}", flush=True)
