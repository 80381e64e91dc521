"""`./dev psql [arguments]`: psql on the database of the running `./dev up`, or on `DATABASE_URL`."""

import json
import os
import sys

from infra.local.postgres import embedded_postgres_bin
from infra.local.up import STATE_FILE


def main() -> None:
    dsn = os.environ.get("DATABASE_URL")
    if not dsn:
        try:
            dsn = json.loads(STATE_FILE.read_text())["database"]
        except (OSError, ValueError, KeyError):
            sys.exit("no ./dev up is running here and DATABASE_URL is not set")
    psql = str(embedded_postgres_bin() / "psql")
    os.execv(psql, [psql, str(dsn), *sys.argv[1:]])


if __name__ == "__main__":
    main()
