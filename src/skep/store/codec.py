"""Records to JSON text and back, exactly.

Python's ``json`` writes what Pydantic has taken apart, since Pydantic itself writes infinity and
not-a-number as null. All fields are written, so that a changed default never changes an old job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from skep.errors import StoreError
from skep.model.event import EVENT, Event
from skep.model.state import JobState, SiteState

T = TypeVar("T")
_JOB: TypeAdapter[JobState] = TypeAdapter(JobState)
_SITE: TypeAdapter[SiteState] = TypeAdapter(SiteState)


def encode_event(event: Event) -> str:
    """The event as JSON text."""
    return json.dumps(EVENT.dump_python(event), separators=(",", ":"))


def encode_job(job: JobState) -> str:
    """The whole state of the job as JSON text."""
    return json.dumps(_JOB.dump_python(job), separators=(",", ":"))


def encode_site(site: SiteState) -> str:
    """The state of the site as JSON text."""
    return json.dumps(_SITE.dump_python(site), separators=(",", ":"))


def encode_line(line: Mapping[str, Any]) -> str:
    """One line of progress as JSON text."""
    return json.dumps(line, separators=(",", ":"), default=str)


def decode_event(body: str) -> Event:
    """The event of such a text. Raises ``StoreError``."""
    return _decoded(EVENT, body, "event")


def decode_job(body: str) -> JobState:
    """The job of such a text. Raises ``StoreError``."""
    return _decoded(_JOB, body, "job")


def decode_site(body: str) -> SiteState:
    """The site of such a text. Raises ``StoreError``."""
    return _decoded(_SITE, body, "site")


def decode_line(body: str) -> dict[str, Any]:
    """The line of progress of such a text. Raises ``StoreError``."""
    try:
        return cast(dict[str, Any], json.loads(body))
    except ValueError as error:
        raise StoreError(f"a stored line of progress cannot be read: {error}") from error


def _decoded(adapter: TypeAdapter[T], body: str, what: str) -> T:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"a stored {what} cannot be read: {place}: {first['msg']}") from error
