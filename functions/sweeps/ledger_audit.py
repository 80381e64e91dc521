"""Every hour: does the money add up? Findings become a metric, error lines and one row of the audit log."""

from datetime import datetime
from decimal import Decimal

from evpower import metrics
from evpower.audit import service as audit
from evpower.audit.models import AuditEntry
from evpower.db.ledger_audit import CHECKS, Finding, run_check
from evpower.logging import get_logger
from functions.sweeps.deps import SweepDeps

_log = get_logger(__name__)
_SHOWN = 20


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Ask every question; nothing is repaired here, because only people can say which side is wrong.

    Counts: ``findings`` in all, and one member for each check that found something.
    """
    findings: list[Finding] = []
    for check in CHECKS:
        # A transaction each: none holds a snapshot for long.
        findings += await deps.database.run(lambda conn, check=check: run_check(conn, check, now))  # type: ignore[misc]
    counts = {"findings": len(findings)}
    for finding in findings:
        counts[finding.check] = counts.get(finding.check, 0) + 1
    difference = sum((finding.difference or Decimal(0) for finding in findings), Decimal(0))
    metrics.emit({"LedgerFindings": len(findings), "LedgerDifferenceSom": float(difference)})
    if findings:
        await _report(deps, findings, counts, difference)
    return counts


async def _report(deps: SweepDeps, findings: list[Finding], counts: dict[str, int], difference: Decimal) -> None:
    for finding in findings[:_SHOWN]:
        _log.error(
            "the ledger does not add up: %s, %s",
            finding.check,
            finding.subject,
            extra={"check": finding.check, "subject": finding.subject, "expected": finding.expected,
                   "found": finding.found},
        )  # fmt: skip
    entry = AuditEntry(
        operation="ledger_audit",
        actor="sweep",
        status=500,
        details={
            "counts": counts,
            "difference": str(difference),
            "first": [f"{finding.check}: {finding.subject}" for finding in findings[:_SHOWN]],
        },
    )
    await deps.database.run(lambda conn: audit.record(conn, entry))
