"""What others on a link see of an exchange: with data paced below the measured rate, and without.

    python benchmarks/link.py [--mbit 10] [--seconds 25] [--json FILE]

Two sites in network namespaces, a token bucket of the stated rate with up to 400 ms of queue each
way; all TCP with CUBIC. ``alone``: share of the link that the exchange gets; ``others wait``: round
trip of a small UDP packet meanwhile, median and 95th percentile; ``beside``: shares of the exchange
and of a bulk TCP connection, both at once. Needs root.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from sites.net import Net, possible

SITES = Path(__file__).parent / "sites"


def measure(mbit: float, seconds: float, way: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, Net(2, mbit) as net:
        log, out = Path(folder) / "log", Path(folder) / "out"
        command = (sys.executable, str(SITES / "stream.py"))
        receiver = net.start(0, *command, "receive", net.hosts[0], log=log)
        time.sleep(2.0)
        words = ("send", net.hosts[0], str(seconds), way, str(out))
        try:
            if net.start(1, *command, *words, log=log).wait(4 * seconds + 60):
                sys.exit(log.read_text())
        finally:
            receiver.kill()
            receiver.wait()
        return dict(json.loads(out.read_text()))


def main() -> None:
    """Print one row per way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mbit", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--json")
    chosen = parser.parse_args()
    if reason := possible():
        sys.exit(f"link.py: {reason}")
    capacity = chosen.mbit * 125_000
    print(f"{'way':<8} {'alone':>6} {'others wait, ms (idle)':>24} {'beside':>7} {'bulk':>6}")
    figures: dict[str, float] = {}
    for way in ("unpaced", "paced"):
        found = measure(chosen.mbit, chosen.seconds, way)
        waits = (1e3 * found[name] for name in ("probe_s", "probe_p95_s", "probe_idle_s"))
        shares = {name: found[name] / capacity for name in ("alone", "beside", "bulk")}
        text = "{:.1f}, p95 {:.1f} ({:.1f})".format(*waits)
        print(
            f"{way:<8} {shares['alone']:>6.2f} {text:>24}"
            f" {shares['beside']:>7.2f} {shares['bulk']:>6.2f}",
            flush=True,
        )
        figures |= {f"link_{name}_{way}": share for name, share in shares.items()}
        figures |= {f"link_{name}_{way}": found[name] for name in ("probe_s", "probe_p95_s")}
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
