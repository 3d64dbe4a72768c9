"""What data over several connections carries on a long way with losses, beside one connection.

    python benchmarks/lanes.py [--mbit 100] [--rtt 60] [--loss 0.0005] [--seconds 10] [--json FILE]

Two network namespaces joined by a forwarder of packets (``sites/tunnel.py``): round trip, rate,
random loss each way. The mesh of the training library sends without end, with TLS, with as many
connections for data as the row says, and at last with as many as it chooses. Shares are of the
stated rate, after a minute to settle. Needs root and /dev/net/tun.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from sites.net import Far, possible

SITES = Path(__file__).parent / "sites"


def measure(streams: int, options: argparse.Namespace) -> dict[str, float]:
    far = Far(options.mbit, options.rtt, options.loss)
    with tempfile.TemporaryDirectory() as folder, far as made:
        out, log = Path(folder) / "out", Path(folder) / "log"
        ends = (sys.executable, str(SITES / "widely.py"))
        receiver = made.start(0, *ends, "receive", made.hosts[0], log=log)
        time.sleep(3.0)
        words = ("send", made.hosts[0], str(streams), str(options.seconds), options.control)
        try:
            if made.start(1, *ends, *words, str(out), log=log).wait(options.seconds + 120):
                sys.exit(log.read_text())
        finally:
            receiver.kill()
            receiver.wait()
        return dict(json.loads(out.read_text()))


def main() -> None:
    """Print one row per number of connections."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mbit", type=float, default=100.0)
    parser.add_argument("--rtt", type=float, default=60.0, help="ms")
    parser.add_argument("--loss", type=float, default=0.0005)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--control", default="cubic", help="congestion control of TCP")
    parser.add_argument("--streams", default="1,4,8,0", help="0: as it chooses")
    parser.add_argument("--json")
    options = parser.parse_args()
    if reason := possible():
        sys.exit(f"lanes.py: {reason}")
    print(f"{'set':>6} {'used':>5} {'Mbit/s':>7} {'share':>6} {'round trip, ms':>15}")
    figures = {}
    for streams in map(int, options.streams.split(",")):
        found = measure(streams, options)
        mbit, name = 8e-6 * found["rate"], str(streams or "chosen")
        share = mbit / options.mbit
        row = (
            f"{name:>6} {found['lanes']:>5} {mbit:>7.1f} {share:>6.2f} {1e3 * found['trip']:>15.0f}"
        )
        print(row, flush=True)
        figures |= {f"lanes_{name}_share": share, f"lanes_{name}_used": found["lanes"]}
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
