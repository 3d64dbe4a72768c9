"""Published, measured training runs as the performance model sees them. Read from a table of others
(not in this repository); what a row does not say is filled by the rules written here, none per row.

Eligible are rows with a layout, a batch and a step time. Not eligible, and why:

- confidence "memory" or "low": no source was confirmed;
- MFU outside 0.05 to 0.65 (trap c: totals that look like per card), except beyond 32k tokens;
- other maths: hybrid models (state space layers), fine-tuning (group "other" of Megatron-Bridge),
  MegaScale's own rows (parallel block, sliding window, LAMB) and its figure 9;
- one TPU row with a layout: nothing to hold out;
- layouts that do not divide (chips != tp pp dp cp, batch, heads).

ModelLink's layouts are of the script at that commit, not provably of the run (trap b); they stay,
with what those scripts say beyond the table's columns (``SCRIPTS``).
NVFP4 or FP8 (trap d) is taken as the table says. Where a source leaves the micro-batch open, 1 to 8
are tried, and where it does not tell whether the pipeline is interleaved, stages that divide: the
fastest by the model counts. Recomputation that is not told is none; memory of such rows is not
judged.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skep.model.workload import Experts, Latent, Precision, Workload
from skep.planner.layout import Layout

FACTS = Path(__file__).parents[1].parent / "shared/facts/runs"

CHIPS = (  # the first that matches counts
    (r"^A100-80GB|^A100 80GB", "a100-sxm-80gb"),
    (r"^A100-40GB|^A100 40GB", "a100-sxm-40gb"),
    (r"^A800", "a800-sxm-80gb"),
    (r"^H100-96GB.*500 ?W", "h100-sxm-500w"),
    (r"^H100", "h100-sxm"),
    (r"^H200", "h200-sxm"),
    (r"^H800", "h800-sxm"),
    (r"^H20\b", "h20"),
    (r"^GB200", "gb200-nvl72"),
    (r"^GB300", "gb300-nvl72"),
    (r"^B200", "b200-sxm"),
    (r"^B300", "b300-sxm"),
    (r"^Ascend 910B", "ascend-910b2"),
    (r"^Ascend 910C", "ascend-910c"),
    (r"MI250X", "mi250x"),
    (r"MI300X", "mi300x"),
    (r"MI325X", "mi325x"),
    (r"MI355X", "mi355x"),
    (r"^Gaudi ?2", "gaudi-2"),
    (r"^Gaudi ?3", "gaudi-3"),
)
GBIT = 1e9 / 8
# bytes/s of NIC per chip where the source says that its system differs from the catalogue.
NICS = {"BLOOM": 50 * GBIT, "vTrain": 100 * GBIT, "MosaicML A100": 200 * GBIT}
HEAD_DIMS = {"Gemma 2B": 256, "Gemma 7B": 256, "Gemma2 9B": 256, "Gemma2 27B": 128}
WINDOWS = {
    "Mistral 7B": (4096, 1.0),
    "GPT OSS 120B": (128, 0.5),
    "Gemma2 9B": (4096, 0.5),
    "Gemma2 27B": (4096, 0.5),
}
RECOMPUTATIONS = ("none", "selective", "alternate", "full")
DEEPSEEK = Latent(query_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128)


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run. ``layouts``: one, or those that fit what the source left open."""

    id: str
    family: str
    group: str
    chip: str
    stack: str
    work: Workload
    layouts: tuple[Layout, ...]
    step: float
    nic: float | None
    memory: float | None
    chips: int
    stated: bool
    """Whether the source says what is recomputed; else its memory cannot be judged."""

    @property
    def moe(self) -> bool:
        return self.work.moe is not None


def rows() -> list[dict[str, str]]:
    """Every row of the table as it is."""
    with (FACTS / "training_runs.csv").open(encoding="utf-8") as text:
        return list(csv.DictReader(text))


def runs() -> list[Run]:
    """The eligible runs."""
    return [run for row in rows() if (run := read(row))]


def read(row: dict[str, str], timed: bool = True) -> Run | None:
    """One row, ``None`` where it is not eligible. ``timed`` false: rows without a time, too."""
    step = row["measured_step_time_s"] or row["derived_step_time_s"]
    needed = ("layers", "hidden", "heads", "kv_heads", "ffn", "seq_len", "tp", "pp", "global_batch")
    chip = _chip(row["chip"])
    if chip is None or any(not row[name] for name in needed):
        return None
    if (timed and not step) or row["confidence"].startswith(("memory", "low")):
        return None
    if (
        row["group"].startswith(("hybrid", "tpu"))
        or row["group"] == "dense_nvidia_bridge_other"
        or "(MegaScale)" in row["model"]
    ):
        return None
    if row["source"].endswith("Figure 9"):  # MegaScale weak scaling: batch only, own maths
        return None
    if timed and not _believable(row):
        return None
    work = _work(row)
    layouts = tuple(_layouts(row, work))
    if not layouts:
        return None
    family = _family(row)
    return Run(
        id=row["id"],
        family=family,
        group=row["group"],
        chip=chip,
        stack=_stack(row, family),
        work=work,
        layouts=layouts,
        step=float(step or 0.0),
        nic=NICS.get("MosaicML A100" if "MosaicML" in family and "A100" in row["chip"] else family),
        memory=float(row["mem_gb_per_chip"]) * 2.0**30 if row["mem_gb_per_chip"] else None,
        chips=int(row["n_chips"]),
        stated=bool(row["recompute"]),
    )


def _chip(name: str) -> str | None:
    return next((kind for pattern, kind in CHIPS if re.search(pattern, name)), None)


def _believable(row: dict[str, str]) -> bool:
    mfu = float(row["derived_mfu"]) if row["derived_mfu"] else 0.3
    return 0.05 <= mfu <= 0.65 or (mfu < 0.05 and int(row["seq_len"]) > 32768)


def _work(row: dict[str, str]) -> Workload:
    model, heads, hidden = row["model"], int(row["heads"]), int(row["hidden"])
    moe, latent = _experts(row), None
    if model.startswith(("DeepSeek", "Kimi")):
        latent = DEEPSEEK
    dense = {"DeepSeek-V2 60B": 12288}.get(model, 18432) if latent else int(row["ffn"])
    head = HEAD_DIMS.get(model, 64 if model.startswith("GPT OSS") else max(hidden // heads, 1))
    window, windowed = WINDOWS.get(model, (None, 1.0))
    layers = int(row["layers"]) + (1 if model == "DeepSeekV3" else 0)  # its MTP block
    return Workload(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-")[:60],
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=int(row["kv_heads"]),
        head_dim=head,
        ffn=dense,
        gated_mlp=row["gated_mlp"] == "1",
        vocab=int(row["vocab"] or 51200),
        tied_embeddings=row["gated_mlp"] != "1",
        seq_len=int(row["seq_len"]),
        global_batch=int(row["global_batch"]),
        dtype=_dtype(row["dtype"]),
        window=window,
        windowed=windowed,
        moe=moe,
        latent=latent,
    )


def _experts(row: dict[str, str]) -> Experts | None:
    if not row["experts"]:
        return None
    latent = row["model"].startswith(("DeepSeek", "Kimi"))
    first = {"Kimi_K2": 1, "DeepSeek-V2 60B": 1}.get(row["model"], 3) if latent else 0
    shared = {"DeepSeek-V2 60B": 2}.get(row["model"], 1) if latent else 0
    ffn = 1536 if row["model"] == "DeepSeek-V2 60B" else int(row["ffn"])
    return Experts(
        count=int(row["experts"]),
        topk=int(row["topk"]),
        ffn=ffn,
        shared=shared,
        first_dense_layers=first,
    )


def _dtype(text: str) -> Precision:
    if "mx" in text:
        return "mxfp8"
    if "fp8" in text:
        return "fp8"
    return "fp16" if text == "fp16" else "bf16"


FAMILIES = (
    ("Narayanan", "Narayanan SC21"),
    ("Korthikanti", "Korthikanti"),
    ("MegaScale", "MegaScale (Megatron-LM rows)"),
    ("NVIDIA Megatron-LM README", "Megatron-LM README"),
    ("NVIDIA NeMo-Framework", "NeMo Launcher"),
    ("NVIDIA Megatron-Bridge", "Megatron-Bridge"),
    ("Nemotron", "Nemotron reports"),
    ("MLPerf", "MLPerf"),
    ("MosaicML", "MosaicML"),
    ("TorchTitan", "TorchTitan"),
    ("BLOOM", "BLOOM"),
    ("vTrain", "vTrain"),
    ("Ascend ModelLink", "ModelLink"),
    ("MindSpeed", "MindSpeed"),
    ("Llama 3", "Llama 3"),
    ("'Insights", "DeepSeek"),
    ("PaLM", "MT-NLG"),
)


def _family(row: dict[str, str]) -> str:
    for start, name in FAMILIES:
        if row["source"].startswith(start):
            return name
    return row["source"][:30]


STACKS = {
    "Narayanan SC21": "megatron-2021",
    "Korthikanti": "megatron-2021",
    "MT-NLG": "megatron-deepspeed-2022",
    "vTrain": "megatron-deepspeed",
    "BLOOM": "megatron-deepspeed-2022",
    "MegaScale (Megatron-LM rows)": "megatron-2021",
    "MosaicML": "fsdp",
    "TorchTitan": "fsdp",
    "ModelLink": "mindspeed",
    "MindSpeed": "mindspeed",
    "DeepSeek": "dualpipe",
    "Megatron-Bridge": "megatron-core",
    "MLPerf": "megatron-core",
    "NeMo Launcher": "megatron-core",
    "Megatron-LM README": "megatron-core",
    "Nemotron reports": "megatron-core",
    "Llama 3": "megatron-core",
}


def _stack(row: dict[str, str], family: str) -> str:
    if row["group"] == "dense_zero3_a100":
        return "deepspeed-zero3"
    if family == "ModelLink" and "impl Legacy" in row["notes"]:
        return "mindspeed-legacy"
    if family == "TorchTitan":
        compiled = "compile" in row["notes"] or "TP" in row["notes"] or "fp8" in row["dtype"]
        return "fsdp-compiled" if compiled else "fsdp"
    if family == "Megatron-Bridge" and re.search(r"\[26\.0[6-9]", row["source"]):
        return "megatron-core-26.06"
    return STACKS.get(family) or _usual_stack(row)


def _usual_stack(row: dict[str, str]) -> str:
    """Of a source that the rules do not name: by what it runs on and how."""
    if row["chip"].startswith("Ascend"):
        return "mindspeed"
    if row["zero"].startswith("3") and row["pp"] == "1":
        return "fsdp"
    return "megatron-2021" if row["dtype"] == "fp16" else "megatron-core"


SCRIPTS: dict[tuple[str, int], dict[str, Any]] = {
    ("Qwen1.5 110B", 8192): {"uneven": True},  # --num-layer-list 7,8,9,10,11,11,12,12
    ("Qwen2.5 32B", 32768): {"uneven": True},  # --num-layer-list 11,13,19,21
    # --recompute-method block with more layers than a stage has; attention goes to the host
    ("Mixtral 8x22B", 32768): {"recompute": "full"},
    # four sequences cannot fit; the script's next version has one
    ("Qwen2.5 3B", 32768): {"micro_batch": 1},
}
"""What ModelLink's scripts say beyond the table (its repository, examples/mcore, October 2024)."""


def _layouts(row: dict[str, str], work: Workload) -> Iterator[Layout]:
    tp, pp, cp = int(row["tp"]), int(row["pp"]), int(row["cp"] or 1)
    dp = int(row["n_chips"]) // (tp * pp * cp)
    family = _family(row)
    script = SCRIPTS.get((row["model"], int(row["seq_len"])), {}) if family == "ModelLink" else {}
    told_micro = script.get("micro_batch", row["micro_batch"])
    micros = [int(told_micro)] if told_micro else [1, 2, 4, 8]
    told = row["virtual_stages"] or ("1" if row["notes"].startswith("1F1B") else "")
    virtuals = [int(told)] if told else _virtuals(work, pp, family)
    if dp < 1 or tp * pp * cp * dp != int(row["n_chips"]):
        return
    for micro in micros:
        if work.global_batch % (dp * micro) and row["micro_batch"] == "":
            continue
        for virtual in virtuals:
            yield Layout(
                tp=tp,
                pp=pp,
                dp=dp,
                cp=cp,
                ep=int(row["ep"] or 1),
                virtual=virtual,
                micro_batch=micro,
                recompute=script.get("recompute", _recompute(row, family)),
                uneven=script.get("uneven", False),
                zero=_zero(row["zero"]),
                sequence_parallel=_sequence_parallel(row, family),
                overlap_tp=_overlap_tp(row, family),
                overlap_dp=_overlap_dp(row, family),
            )


def _overlap_dp(row: dict[str, str], family: str) -> bool:
    """By the source; of one that the rules do not name: not in fp16 (before 2022), else yes."""
    if row["zero"].startswith("3") or family in OVERLAPPED:
        return True
    return family not in STACKS and row["dtype"] != "fp16"


OVERLAPPED = {
    "Megatron-Bridge", "MLPerf", "NeMo Launcher", "Megatron-LM README", "Nemotron reports",
    "Llama 3", "DeepSeek", "MosaicML", "TorchTitan", "MindSpeed", "ModelLink",
}  # fmt: skip
PLAIN = {"BLOOM", "vTrain", "MT-NLG", "ModelLink", "MindSpeed", "DeepSeek", "Korthikanti"}
"""Families whose pipelines are not interleaved where they do not say so."""


def _virtuals(work: Workload, pp: int, family: str) -> list[int]:
    """Stages per chip where a source does not tell: what divides, up to 4."""
    if pp == 1 or family in PLAIN:
        return [1]
    if family == "Llama 3":  # stages of uneven size, as its section 3.3.2 says
        return [1, 2, 4, 8]
    return [v for v in (1, 2, 3, 4) if work.layers % (pp * v) == 0] or [1]


def _recompute(row: dict[str, str], family: str) -> str:
    text = row["recompute"]
    if family == "TorchTitan" and text == "selective":
        return "alternate"  # its selective recomputation is of every other layer
    if text.startswith("selective") or (not text and family.startswith("MegaScale")):
        return "selective"
    # "full block 8 layers", "full (uniform, 1 layer)" of a deep model: most of it is recomputed.
    return "full" if text.startswith("full") else "none"


def _zero(text: str) -> int:
    if text.startswith("FSDP (shards optimizer+grads"):
        return 2
    return int(text[0]) if text and text[0].isdigit() else 1


def _sequence_parallel(row: dict[str, str], family: str) -> bool:
    if family == "Korthikanti":
        return "sequence" in row["recompute"]
    if family in {"Narayanan SC21", "vTrain", "BLOOM", "MT-NLG"}:
        return False
    return family in OVERLAPPED or family in STACKS or row["dtype"] != "fp16"


def _overlap_tp(row: dict[str, str], family: str) -> bool:
    if family == "TorchTitan":
        return "async" in row["notes"].lower()
    return family in {
        "Megatron-LM README",
        "Megatron-Bridge",
        "MLPerf",
        "NeMo Launcher",
        "ModelLink",
        "MindSpeed",
    }
