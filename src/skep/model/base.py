"""What all specifications share: frozen, no unknown fields, quantities with units."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from skep import units

# Names become folder names, host names and columns of a table: letters, digits, and . _ - inside.
NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Spec(BaseModel):
    """A frozen piece of a file: equal by value, refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _quantity(parse: Any, example: str, **limits: float) -> Any:
    schema = {
        "anyOf": [{"type": "number", **limits}, {"type": "string"}],
        "examples": [example],
    }
    return BeforeValidator(parse), WithJsonSchema(schema, mode="validation")


Watts = Annotated[float, *_quantity(units.parse_power, "400 W", minimum=0)]
BitsPerSecond = Annotated[float, *_quantity(units.parse_rate, "100 Mbit/s", minimum=0)]
Seconds = Annotated[float, *_quantity(units.parse_duration, "2h30m", minimum=0)]
FlopPerSecond = Annotated[float, *_quantity(units.parse_speed, "4 GFLOP/s", minimum=0)]
Bytes = Annotated[float, *_quantity(units.parse_size, "80 GB", minimum=0)]
