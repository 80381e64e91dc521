"""`./dev psql [arguments]`: psql on `DATABASE_URL`, or on the database of the running `./dev up`.

Of several the one started last, or the one whose gateway has the port `EVPOWER_PORT`.
"""

import os
import sys

from infra.local.postgres import embedded_postgres_bin
from infra.local.running_systems import running


def _database() -> str:
    if given := os.environ.get("DATABASE_URL"):
        return given
    systems = running()
    if not systems:
        sys.exit("no ./dev up is running here and DATABASE_URL is not set")
    port = os.environ.get("EVPOWER_PORT") or str(next(iter(systems)))
    if port not in map(str, systems):
        sys.exit(f"no ./dev up is running on port {port}: there is {', '.join(map(str, systems))}")
    if len(systems) > 1:
        others = ", ".join(str(other) for other in systems if str(other) != port)
        print(f"the system on port {port} (EVPOWER_PORT chooses another: {others})", file=sys.stderr, flush=True)
    return str(systems[int(port)]["database"])


def main() -> None:
    psql = str(embedded_postgres_bin() / "psql")
    os.execv(psql, [psql, _database(), *sys.argv[1:]])


if __name__ == "__main__":
    main()
