"""The JSON Schema of scenario files: editors complete by it.

``python -m skep.sim.schema`` writes it into the package; a test holds it current.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skep.files.schema import file_schema, file_schemas, rendered
from skep.sim.scenario import Scenario

NAME = "scenario"


def scenario_schema() -> dict[str, Any]:
    """The schema; its jobs take the short forms of a job file."""
    schema = file_schema(Scenario, NAME)
    job = file_schemas()["job"]
    definitions: dict[str, Any] = schema["$defs"]
    definitions |= job["$defs"]
    whole = {key: part for key, part in job.items() if key not in ("$schema", "$id", "$defs")}
    definitions["Job"] = whole
    definitions["JobParts"] = {**whole, "title": "JobParts", "required": []}
    parts = definitions["Arrivals"]["properties"]["job"]
    definitions["Arrivals"]["properties"]["job"] = {
        "$ref": "#/$defs/JobParts",
        "description": parts["description"],
    }
    return schema


def write_schema(folder: Path) -> Path:
    """Write ``scenario.schema.json`` into ``folder``; answers the file."""
    file = folder / f"{NAME}.schema.json"
    file.write_text(rendered(scenario_schema()), encoding="utf-8")
    return file


if __name__ == "__main__":
    print(write_schema(Path(__file__).parent.parent / "data" / "schemas"))
