"""Every minute: does the money add up? Findings become a metric, error lines and one row of the audit log."""

from datetime import datetime
from decimal import Decimal

from evpower import metrics
from evpower.audit import service as audit
from evpower.audit.models import AuditEntry
from evpower.db import ledger_audit as questions
from evpower.db.ledger_audit import Finding
from evpower.logging import get_logger
from functions.sweeps.deps import SweepDeps

_log = get_logger(__name__)
_SHOWN = 20


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Ask every question; nothing is repaired here, because only people can say which side is wrong.

    A transaction each: none holds a snapshot for long. A run that dies is repeated by the next one, because what was
    looked at is noted at the end. New rows are told by the database's clock, which wrote them; ``now`` is not needed.

    Counts: ``findings`` in all, and one member for each check that found something.
    """
    known = await deps.database.run(questions.progress)
    subjects = await deps.database.run(lambda conn: questions.subjects(conn, known))
    found: dict[tuple[str, str], Finding] = {}  # a new row may be one of this run's clients too
    for check in questions.CHECKS:
        for ids in subjects.parts(check.about):
            some = await deps.database.run(lambda conn, check=check, ids=ids: questions.run_check(conn, check, ids))  # type: ignore[misc]
            found |= {(finding.check, finding.subject): finding for finding in some}
    findings = list(found.values())
    lap = await deps.database.run(lambda conn: questions.move_on(conn, known, subjects.turn, findings))
    if lap is not None and lap > questions.LAP_AT_MOST:
        _log.error(
            "the ledger audit took longer than a day for all clients", extra={"hours": lap.total_seconds() / 3600}
        )
    counts = {"findings": len(findings)}
    for finding in findings:
        counts[finding.check] = counts.get(finding.check, 0) + 1
    difference = sum((finding.difference or Decimal(0) for finding in findings), Decimal(0))
    metrics.emit({"LedgerFindings": len(findings), "LedgerDifferenceSom": float(difference)})
    if not {finding.key for finding in findings} <= set(known.findings):
        # Once, not every minute until somebody has repaired it.
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
            "first": [finding.key for finding in findings[:_SHOWN]],
        },
    )
    await deps.database.run(lambda conn: audit.record(conn, entry))
