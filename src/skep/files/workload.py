"""Reads what is to be trained or served: a model by name, a YAML file, or a ``config.json``.

A YAML file has the fields of a workload, or some of them over a ``base``: a name of skep's own
list, or a ``config.json`` of Hugging Face as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from skep.errors import InputError, nearest
from skep.files.hfconfig import from_config
from skep.files.problems import check, printable
from skep.files.yaml import MIB, Value, parse_mapping, read_text
from skep.model.workload import Workload

MOST_BYTES = 4 * MIB
TOKENS_PER_STEP = 4e6  # where nobody said how large a step is; large runs take 2 to 16 million
SEQ_LEN = 4096
ALIASES = {
    "deepseek-r1": "deepseek-v3",
    "gpt-3": "gpt-3-175b",
    "llama-3.1-8b": "llama-3-8b",
    "llama-3.1-70b": "llama-3-70b",
    "llama-3.1-405b": "llama-3-405b",
    "llama-3.3-70b": "llama-3-70b",
    "pangu-ultra-135b": "pangu-ultra",
}
WHOLE = ("layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "seq_len", "global_batch")
HINTS = {
    "num_layers": "called layers",
    "num_hidden_layers": "called layers; a config.json of Hugging Face can be given as it is",
    "hidden_size": "called hidden; a config.json of Hugging Face can be given as it is",
    "batch": "called global_batch",
    "experts": "called moe",
    "context": "called seq_len",
    "name_or_path": "called base",
}


@dataclass(frozen=True, slots=True)
class Model:
    """A workload, where it is from, and what was assumed because nobody said it."""

    workload: Workload
    source: str
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """An entry of skep's own list: the shape, its source, the published parameters."""

    source: str
    model: Mapping[str, Value]
    parameters: float
    active: float | None


def load_model(what: str, changes: Mapping[str, Value] | None = None) -> Model:
    """The model that ``what`` names: a file, or a name of the list. Raises ``InputError``.

    ``changes`` (``seq_len``, ``global_batch``, ``dtype``, ``tokens``) go before what it says.
    """
    path = Path(what)
    if path.suffix in (".yaml", ".yml", ".json") or path.is_file():
        return _finished(*_of_file(path), changes or {}, printable(what))
    fields, source = _of_name(what, "MODEL", "")
    return _finished(fields, source, changes or {}, "")


def workload_of(value: Value, source: str, folder: Path | None) -> Workload:
    """What ``model`` of a job file means: a name, a file beside it, or fields over a ``base``.

    Without a ``folder`` no file is read. Raises ``InputError``.
    """
    match value:
        case str() if folder is not None and _is_file(value):
            return load_model(str(folder / Path(value).expanduser())).workload
        case str():
            fields, _ = _of_name(value, "model", source)
        case dict():
            base, own = value.get("base"), {k: v for k, v in value.items() if k != "base"}
            below = {} if base is None else _of_name(str(base), "model.base", source)[0]
            fields = {"name": "model", **below, **own}
        case _:
            allowed = "allowed: the name of a model, a file, or fields such as {base: llama-3-8b}"
            raise InputError("model", value, allowed, source=source)
    try:
        return _finished(fields, "", {}, source).workload
    except InputError as wrong:
        raise InputError(
            f"model.{wrong.field}", wrong.value, wrong.allowed, source=source
        ) from None


def _is_file(value: str) -> bool:
    return Path(value).suffix in (".yaml", ".yml", ".json")


@cache
def named_models() -> Mapping[str, Named]:
    """skep's own list of models by name."""
    text = resources.files("skep.data").joinpath("models.yaml").read_text(encoding="utf-8")
    found = {}
    for name, entry in parse_mapping(text, "models.yaml").items():
        assert isinstance(entry, dict)
        published, model = entry["published"], entry["model"]
        assert isinstance(published, dict)
        assert isinstance(model, dict)
        active = published.get("active")
        found[name] = Named(
            source=str(entry["source"]),
            model=model,
            parameters=float(str(published["parameters"])),
            active=None if active is None else float(str(active)),
        )
    return found


def _of_name(what: str, field: str, source: str) -> tuple[dict[str, Value], str]:
    known = named_models()
    name = what.casefold()
    name = ALIASES.get(name, name)
    if name not in known:
        names = [*known, *ALIASES]
        near = nearest(name, names).strip()
        allowed = f"allowed: a YAML file, a config.json, or one of {', '.join(names)}"
        raise InputError(field, what, f"{near} {allowed}".strip(), source=source)
    return {"name": what.casefold(), **known[name].model}, known[name].source


def _of_file(path: Path) -> tuple[dict[str, Value], str]:
    source = printable(str(path))
    fields = dict(parse_mapping(read_text(path, MOST_BYTES), str(path)))
    if path.suffix == ".json":
        return _configured(fields, path, source), source
    base = fields.pop("base", None)
    fields.setdefault("name", path.stem)
    if base is None:
        return fields, source
    if not isinstance(base, str):
        raise InputError("base", base, "allowed: a name or a config.json", source=source)
    if base.endswith(".json"):
        other = path.parent / base
        below = _configured(
            dict(parse_mapping(read_text(other, MOST_BYTES), str(other))), other, str(other)
        )
    else:
        below, _ = _of_name(base, "base", source)
    return below | fields, source


def _configured(config: dict[str, Value], path: Path, source: str) -> dict[str, Value]:
    name = path.parent.name if path.name == "config.json" and path.parent.name else path.stem
    return {"name": name, **from_config(config, source)}


def _finished(
    fields: dict[str, Value], origin: str, changes: Mapping[str, Value], source: str
) -> Model:
    fields = {**fields, **{k: v for k, v in changes.items() if v is not None}}
    assumed = []
    if "seq_len" not in fields:
        fields["seq_len"] = SEQ_LEN
        assumed.append(f"sequences of {SEQ_LEN:,} tokens")
    if "global_batch" not in fields and _counts(fields, "seq_len"):
        length = fields["seq_len"]
        assert isinstance(length, int)
        fields["global_batch"] = 2 ** max(0, round(math.log2(TOKENS_PER_STEP / length)))
        assumed.append(f"a batch of {fields['global_batch']:,} sequences (about 4 M tokens a step)")
    _defaults(fields)
    _together(fields, source)
    return Model(check(Workload, fields, source=source, hints=HINTS), origin, tuple(assumed))


def _defaults(fields: dict[str, Value]) -> None:
    """What follows from other fields where it is not given."""
    if _counts(fields, "heads"):
        fields.setdefault("kv_heads", fields["heads"])
    if _counts(fields, "heads", "hidden"):
        hidden, heads = fields["hidden"], fields["heads"]
        assert isinstance(hidden, int)
        assert isinstance(heads, int)
        fields.setdefault("head_dim", max(1, hidden // heads))
    if isinstance(moe := fields.get("moe"), dict) and _counts(moe, "ffn"):
        fields.setdefault("ffn", moe["ffn"])
    if _counts(fields, "tokens"):
        fields["tokens"] = float(str(fields["tokens"]))


def _together(fields: Mapping[str, Value], source: str) -> None:
    """What fields say together, told of the field that is wrong."""
    if _counts(fields, "heads", "kv_heads") and int(str(fields["heads"])) % int(
        str(fields["kv_heads"])
    ):
        allowed = f"allowed: a divisor of the {fields['heads']} heads"
        raise InputError("kv_heads", fields["kv_heads"], allowed, source=source)
    moe = fields.get("moe")
    if isinstance(moe, dict) and _counts(moe, "count", "topk"):
        if int(str(moe["topk"])) > int(str(moe["count"])):
            allowed = f"allowed: at most the {moe['count']} experts"
            raise InputError("moe.topk", moe["topk"], allowed, source=source)
        dense = moe.get("first_dense_layers", 0)
        if _counts(fields, "layers") and isinstance(dense, int):
            layers = int(str(fields["layers"]))
            if dense > layers:
                allowed = f"allowed: at most the {layers} layers"
                raise InputError("moe.first_dense_layers", dense, allowed, source=source)


def _counts(fields: Mapping[str, Value], *names: str) -> bool:
    """Whether all these fields are whole numbers of one or more."""
    found = (fields.get(name) for name in names)
    return all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in found)
