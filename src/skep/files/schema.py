"""JSON Schemas of job, pool and policy *files*, short forms included: editors complete by them.

``python -m skep.files.schema`` writes them into the package; a test holds them current.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from annotated_types import Gt
from pydantic import BaseModel

from skep import units
from skep.files.job import JOB_FIELDS
from skep.model.job import Job
from skep.model.policy import Policy
from skep.model.site import Pool

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_NUMBER = r"^\s*[-+]?\d+(\.\d+)?([eE][-+]?\d+)?\s*"


def _unit_pattern(table: Iterable[str]) -> str:
    return f"{_NUMBER}({'|'.join(re.escape(unit) for unit in table)})?\\s*$"


_QUANTITIES = {
    "400 W": _unit_pattern(units.POWER),
    "100 Mbit/s": _unit_pattern(units.RATE),
    "4 GFLOP/s": _unit_pattern(units.SPEED),
    "80 GB": _unit_pattern(units.SIZE),
    "2h30m": r"^\s*(\d+(\.\d+)?|(\d+(\.\d+)?\s*(us|ms|min|s|m|h|d)\s*)+"
    r"|(\d+-)?\d+(:\d+){0,2})\s*$",
}
"""Text forms of a quantity, by the example that its type gives in the schema."""


def file_schemas() -> dict[str, dict[str, Any]]:
    """The schemas by name: ``job``, ``pool``, ``policy``."""
    return {
        "job": _job(),
        "pool": file_schema(Pool, "pool"),
        "policy": file_schema(Policy, "policy"),
    }


def schema_text(name: str) -> str:
    """The shipped schema of that name, as JSON text."""
    return resources.files("skep.data").joinpath(f"schemas/{name}.schema.json").read_text("utf-8")


def rendered(schema: Mapping[str, Any]) -> str:
    """``schema`` as it is written to a file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write ``NAME.schema.json`` of each into ``folder``; answers the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, schema in file_schemas().items():
        file = folder / f"{name}.schema.json"
        file.write_text(rendered(schema), encoding="utf-8")
        files.append(file)
    return files


def file_schema(model: type[BaseModel], name: str) -> dict[str, Any]:
    """The schema of a file that holds ``model``, quantities in their text forms included."""
    schema = model.model_json_schema()
    for found in set(_models(model)):
        node = schema if found is model else schema["$defs"][found.__name__]
        _above(found, node["properties"])
    _with_texts(schema)
    return {"$schema": _DRAFT, "$id": f"skep/{name}.schema.json", **schema}


def _job() -> dict[str, Any]:
    schema = file_schema(Job, "job")
    fields = {name: schema["properties"][name] for name in JOB_FIELDS}
    request = {**schema["$defs"]["ChipRequest"], "required": []}
    schema["$defs"]["ChipRequest"] = request
    fields["chips"] = _chips(fields["chips"])
    fields["span"] = {
        "description": "over how many sites: 3, or {min: 2, max: 3}",
        "anyOf": [{"type": "integer", "minimum": 1}, {"$ref": "#/$defs/Span"}],
    }
    fields["env"] = _env(fields["env"])
    fields["model"] = _trained(schema, fields["model"])
    return {**schema, "properties": fields}


def _chips(model: Mapping[str, Any]) -> dict[str, Any]:
    one = [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": r"^\s*[A-Za-z0-9][A-Za-z0-9._-]*\s*(:\s*0*[1-9][0-9]*\s*)?$"},
        {"$ref": "#/$defs/ChipRequest"},
    ]
    several = {"type": "array", "minItems": 1, "items": {"anyOf": one}}
    return {
        "description": "6, h100-sxm:512, {kind: …, count: …}, or a list: " + model["description"],
        "anyOf": [*one, several],
        "examples": [6, "h100-sxm:512", {"kind": "h100-sxm", "count": 512}],
    }


def _trained(schema: dict[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """A name or a file, or fields of a workload, some of them left to a base."""
    workload = schema["$defs"]["Workload"]
    base = {"type": "string", "description": "a model of skep's list: other fields change it"}
    properties = {"base": base, **workload["properties"]}
    schema["$defs"]["Workload"] = {**workload, "properties": properties, "required": []}
    forms = [{"type": "string"}, {"$ref": "#/$defs/Workload"}]
    return {
        "description": "llama-3-70b, model.yaml, or {base: …, seq_len: …}: " + model["description"],
        "anyOf": forms,
        "examples": ["llama-3-70b", {"base": "llama-3-70b", "dtype": "fp8"}],
    }


def _env(model: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **model,
        "description": "environment variables; values are the text as written",
        "propertyNames": {"pattern": "^(?!SKEP_)[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    }


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """``model`` and all models that its fields hold."""
    yield model
    for field in model.model_fields.values():
        for part in _parts(field.annotation):
            yield from _models(part)


def _parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for argument in typing.get_args(annotation):
        yield from _parts(argument)


def _above(model: type[BaseModel], properties: Mapping[str, Any]) -> None:
    """Tell the bound "above" of quantities, which the schema of their type hides."""
    for name, field in model.model_fields.items():
        bounds = [m.gt for m in field.metadata if isinstance(m, Gt)]
        for quantity in _quantities(properties[name]) if bounds else ():
            quantity.pop("gt", None)
            number = quantity["anyOf"][0]
            number.pop("minimum", None)
            number["exclusiveMinimum"] = bounds[0]


def _with_texts(schema: dict[str, Any]) -> None:
    """Give the text forms of all quantities their patterns."""
    for quantity in _quantities(schema):
        quantity["anyOf"][1]["pattern"] = _QUANTITIES[quantity["examples"][0]]


def _quantities(node: Any) -> Iterator[dict[str, Any]]:
    """The schemas of quantities at and below ``node``."""
    if isinstance(node, dict):
        if (node.get("examples") or [None])[0] in _QUANTITIES:
            yield node
        for part in node.values():
            yield from _quantities(part)
    elif isinstance(node, list):
        for part in node:
            yield from _quantities(part)


if __name__ == "__main__":
    for written in write_schemas(Path(__file__).parent.parent / "data" / "schemas"):
        print(written)
