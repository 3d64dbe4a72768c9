"""The options of ``skep plan``; what they mean is in ``plansaid``, so that start-up stays quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Text = str | None


def _option(name: str, text: str, panel: str = "Options") -> object:
    return typer.Option(name, help=text, show_default=False, rich_help_panel=panel)


On = Annotated[
    Text,
    _option("--on", "Chips: 16384xh100-sxm, a system of `skep systems`, or A+B for both together."),
]
InPool = Annotated[
    Path | None, _option("--pool", "The sites of a pool file: their chips, links, power, prices.")
]
Match = Annotated[Text, _option("--match", "The chips or the system to match.")]
With = Annotated[
    list[str] | None,
    _option("--with", "Chip kinds to match it with; A+B for both together. May be repeated."),
]
Serve = Annotated[bool, _option("--serve", "Serving instead of training.")]
Prompt = Annotated[int, typer.Option("--prompt", min=1, help="Serving: tokens of a prompt.")]
Answer = Annotated[int, typer.Option("--answer", min=1, help="Serving: tokens of an answer.")]
Ttft = Annotated[Text, _option("--ttft", "Serving: 99 % have their first token within this.")]
Tpot = Annotated[Text, _option("--tpot", "Serving: time per token that 99 % are within.")]
Precision = Annotated[Text, _option("--precision", "Serving: fp4, fp8, int8 or bf16 weights.")]
SeqLen = Annotated[int | None, _option("--seq-len", "Training: tokens of a sequence.")]
Batch = Annotated[int | None, _option("--batch", "Training: sequences of a step.")]
Dtype = Annotated[Text, _option("--dtype", "Training: bf16, fp16, fp8, mxfp8 or nvfp4.")]
Tokens = Annotated[Text, _option("--tokens", "Training: tokens in all, such as 15T.")]
Sites = Annotated[
    int, typer.Option("--sites", min=1, help="Split alike over so many sites (of each kind).")
]
LinkRate = Annotated[Text, _option("--link", "Between sites: 10 Gbit/s.")]
Rtt = Annotated[str, typer.Option("--rtt", help="Round trip between sites.")]
Interval = Annotated[int, typer.Option("--interval", min=1, help="Steps between exchanges.")]
Bits = Annotated[float, typer.Option("--bits", help="Bits per parameter of an exchange.")]
Overlap = Annotated[bool, _option("--overlap", "The exchange goes on beside the next round.")]
Pue = Annotated[float, typer.Option("--pue", help="Facility power over that of the systems.")]
Price = Annotated[float | None, _option("--price", "Electricity, USD/kWh.")]
Carbon = Annotated[float | None, _option("--carbon", "Electricity, gCO2/kWh.")]
Place = Annotated[Text, _option("--place", "Take the grid's carbon of a place skep knows.")]
Failures = Annotated[
    float, typer.Option("--failures", help="Failures of a node in 1,000 days (8 chips).")
]
Restart = Annotated[str, typer.Option("--restart", help="To go on after a failure.")]
Top = Annotated[int, typer.Option("--top", min=0, help="Runners-up to show.")]
Plot = Annotated[Path | None, _option("--plot", "Write a picture: .svg, .png or .pdf.")]
Fixed = Annotated[
    list[str] | None,
    _option("--layout", "Fix a part of the layout: tp=8, pp=16, zero=1 … May be repeated."),
]
Stack = Annotated[Text, _option("--stack", "Software: megatron-core, fsdp, mindspeed …")]
Calibration = Annotated[
    Path | None, _option("--calibration", "What `skep plan calibrate RUNS --json` printed.")
]
Learned = Annotated[
    bool | None,
    _option(
        "--learned/--no-learned",
        "Correct by what jobs of your pool measured (--server, --home): done where there is one.",
    ),
]
