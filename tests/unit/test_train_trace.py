"""A trace that Chrome reads: rows for steps, for what skep did, for fragments on their way."""

import json

from skep.train.meter import Meter
from skep.train.trace import Trace

RECORD = {"round": 3, "sites": ["a", "b"], "tokens": 99, "codec": "int4", "lr": 1.0}


def test_steps_rounds_and_what_is_between_have_rows_of_their_own(tmp_path):
    path = tmp_path / "trace.json"
    trace = Trace(str(path), "east")
    meter = Meter(trace=trace)
    meter.start(1.0)
    meter.step(10, 1.5)
    meter.exchanged(1.5, 1.52)
    meter.step(10, 2.02)
    trace.round(2, 1.1, 1.9, RECORD)
    trace.close()
    trace.step(9, 0.0, 1.0)  # nothing after the end
    events = [event for event in json.loads(path.read_text()) if event]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert names == {0: "local steps", 1: "skep between steps", 12: "fragment 2 on its way"}
    spans = [(e["tid"], e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert spans == [
        (0, "step 1", 1e6, 5e5),
        (1, "exchange", 1.5e6, 2e4),
        (0, "step 2", 1.52e6, 5e5),
        (12, "round 3", 1.1e6, 8e5),
    ]


def test_without_a_path_and_where_it_cannot_be_written_nothing_happens(tmp_path):
    for path in ("", str(tmp_path / "no folder" / "t.json")):
        trace = Trace(path, "east")
        trace.step(1, 0.0, 1.0)
        trace.round(0, 0.0, 1.0, RECORD)
        trace.close()
