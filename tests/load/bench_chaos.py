"""``./dev bench chaos``: 250 seeded kill -9 during 1000 sessions (the tests run 50 during 200)."""

import json
from dataclasses import asdict
from typing import Any

from tests.e2e import chaos

PLAN = chaos.Plan(seed=2, sessions=1000, kills=250)


async def main() -> dict[str, Any]:
    """Run and print; exit status 1 when the auditor finds anything."""
    report = await chaos.run(PLAN)
    print("\n".join(report.lines()))
    result = {"chaos": {"plan": asdict(PLAN), "report": asdict(report)}}
    print(json.dumps(result))
    if report.findings:
        raise SystemExit(1)
    return result
