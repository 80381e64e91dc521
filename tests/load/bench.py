"""``python -m tests.load.bench [name ...]``: benchmarks with their anchors in the same run; all without a name."""

import importlib
import signal
import sys

# name -> module with `async def main() -> dict`
BENCHES = {
    "ocpp": "tests.load.bench_ocpp",
    "start": "tests.load.bench_start",
    "chaos": "tests.load.bench_chaos",
    "coldstart": "tests.load.bench_coldstart",
    "scale": "tests.load.bench_scale",
    "storm": "tests.load.bench_storm",
    "fuzz": "tests.load.bench_fuzz",
}


def run(names: list[str]) -> int:
    """Run the named benchmarks; 2 for an unknown name."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.stderr.write(f"unknown benchmark {unknown[0]}; there are: {', '.join(BENCHES)}\n")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end in order: services and their directories too
    import uvloop

    for name in names or list(BENCHES):
        module = importlib.import_module(BENCHES[name])
        uvloop.run(module.main())
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
