"""The container's health check: 0 when this instance answers ``/health`` with 200, else 1.

Run as a file with ``python -E -S -B``: the standard library only, so that a check costs little CPU beside the sockets.
"""

import http.client
import os
import sys

TIMEOUT_S = 4.0


def main() -> int:
    """Ask once."""
    port = int(os.environ.get("SOCKET_TIER_PORT", "9220"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"no answer from port {port}: {error}\n")
        return 1
    finally:
        connection.close()
    return 0 if status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
