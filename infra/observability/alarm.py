"""One alarm as data, and the list of all of them.

Each names its runbook, ``docs/operations/runbooks/<runbook>.md``. Failures count up from 0 and missing data is fine for
them; what must be there at all times (sweeps, the socket tier's own report) alarms when it is missing.
"""

from dataclasses import dataclass
from typing import Literal

from infra.observability.series import Drawn

Missing = Literal["notBreaching", "breaching", "ignore"]
Severity = Literal["page", "ticket"]
MINUTE, HOUR, DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm. It fires when ``watched`` is at or beyond ``threshold`` in ``datapoints`` of ``periods`` periods.

    ``below`` turns the comparison round: strictly less than the threshold. ``severity``: "page" wakes somebody,
    "ticket" waits for the morning; the alarm's description says which.
    """

    name: str
    symptom: str
    watched: Drawn
    threshold: float
    period_s: int = 5 * MINUTE
    periods: int = 1
    datapoints: int = 0  # 0: all of them
    below: bool = False
    missing: Missing = "notBreaching"
    severity: Severity = "ticket"
    runbook: str = ""  # empty: the alarm's own name

    @property
    def page(self) -> str:
        return self.runbook or self.name
