"""``python -m infra.local.command MODULE ...``: runs ``MODULE.main()`` under `./dev`, and never longer than that."""

import importlib
import sys

from infra.local.processes import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    sys.argv = sys.argv[1:]
    sys.exit(importlib.import_module(sys.argv[0]).main())
