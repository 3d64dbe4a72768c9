"""What a JSON Schema allows, in words: ``a whole number of 1 or more``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skep.model.base import NAME_PATTERN

Schema = Mapping[str, Any]

_PATTERNS = {
    NAME_PATTERN: "1 to 64 letters, digits and . _ - (a letter or digit first and last)",
    r"^[A-Z]{2}$": "a country's two capital letters (ISO 3166-1), such as 'SE'",
    r"^[0-9a-f]{64}$": "a SHA-256 digest, 64 hexadecimal digits",
}
_FORMATS = {
    "date": "a date such as '2026-01-31'",
    "date-time": "a time such as '2026-01-31T08:00Z'",
}
FAR = 1e8
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
}


def resolved(node: Schema, root: Schema) -> Schema:
    """``node`` with its reference followed, and without the null of an optional field."""
    if "$ref" in node:
        return resolved(root["$defs"][node["$ref"].rsplit("/", 1)[-1]], root)
    kinds = [n for n in node.get("anyOf", ()) if n.get("type") != "null"]
    return resolved(kinds[0], root) if len(kinds) == 1 else node


def step(node: Schema, part: int | str, root: Schema) -> Schema:
    """The schema of field or item ``part`` of ``node``; empty where it says nothing."""
    node = resolved(node, root)
    if isinstance(part, int):
        first: Sequence[Schema] = node.get("prefixItems", ())
        found = first[part] if part < len(first) else node.get("items")
    else:
        found = node.get("properties", {}).get(part, node.get("additionalProperties"))
    return resolved(found, root) if isinstance(found, Mapping) else {}


def fields_of(node: Schema, root: Schema) -> list[str]:
    """Names of the fields of a mapping, in the order of the model."""
    return list(resolved(node, root).get("properties", {}))


def bounded(node: Schema, context: Mapping[str, Any]) -> Schema:
    """``node`` with the bounds that pydantic told of a refused number.

    A bound against overflow is said only to who crossed it.
    """
    told = {_BOUNDS[name]: value for name, value in context.items() if name in _BOUNDS}
    if "anyOf" in node and told:
        number, *others = node["anyOf"]
        plain = {name: v for name, v in number.items() if name not in _BOUNDS.values()}
        return {**node, "anyOf": [{**plain, **told}, *others]}
    kept = dict(node)
    if kept.get("maximum", 0) >= FAR and "maximum" not in told:
        del kept["maximum"]
    return {**kept, **told}


def describe(node: Schema, root: Schema) -> str:
    """What ``node`` allows, as a phrase without a full stop."""
    node = resolved(node, root)
    if "enum" in node or "const" in node:
        return _either([repr(v) for v in node.get("enum", [node.get("const")])])
    if "anyOf" in node:
        return _any_of(node, root)
    return _typed(node, root)


def _typed(node: Schema, root: Schema) -> str:
    match node.get("type"):
        case "integer":
            return "a whole number" + _range(node)
        case "number":
            return "a number" + _range(node)
        case "string":
            return _text(node)
        case "boolean":
            return "true or false"
        case "array":
            return _list(node, root)
        case "object":
            return _mapping(node, root)
        case _:
            return "another value"


def _range(node: Schema) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    above, below = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {_number(low)} to {_number(high)}"
    said = [
        f"of {_number(low)} or more" if low is not None else "",
        f"above {_number(above)}" if above is not None else "",
        f"of at most {_number(high)}" if high is not None else "",
        f"below {_number(below)}" if below is not None else "",
    ]
    text = " and ".join(part for part in said if part)
    return f" {text}" if text else ""


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"


def _text(node: Schema) -> str:
    pattern = node.get("pattern")
    if pattern is not None:
        return _PATTERNS.get(pattern, f"text of the pattern {pattern}")
    if "format" in node:
        return _FORMATS.get(node["format"], f"text of the format {node['format']}")
    least, most = node.get("minLength"), node.get("maxLength")
    if most is not None:
        return f"text of {least or 0} to {most:,} characters"
    return "text, not empty" if least else "text"


def _list(node: Schema, root: Schema) -> str:
    if "prefixItems" in node:
        items = node["prefixItems"]
        return f"a list of {len(items)}, each {describe(items[0], root)}"
    least = node.get("minItems", 0)
    size = f"{least} or more" if least else "any number"
    return f"a list of {size}, each {describe(node.get('items', {}), root)}"


def _mapping(node: Schema, root: Schema) -> str:
    fields = fields_of(node, root)
    if fields:
        return f"a mapping with {_either(fields)}"
    items = node.get("additionalProperties")
    each = describe(items, root) if isinstance(items, Mapping) else "anything"
    return f"a mapping of names to {each}"


def _any_of(node: Schema, root: Schema) -> str:
    kinds = [describe(kind, root) for kind in node["anyOf"]]
    if "examples" in node and kinds[-1] == "text":
        kinds[-1] = f"text such as {node['examples'][0]!r}"
    return " or ".join(kinds)


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
