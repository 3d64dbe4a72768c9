"""The HTTP client of the control plane: one method per route, with the types of the model.

It raises the errors of ``skep.errors`` that the server meant, and ``UnreachableError`` where no
server answers. Calls that may be repeated are repeated after a lost connection, for as long as
``patience`` says; a submit carries a key by which the server knows a repetition.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from skep import errors
from skep.model.job import Job
from skep.model.measured import Measured
from skep.model.message import Answer, Report
from skep.model.policy import Policy
from skep.model.site import Pool
from skep.model.views import Events, Health, JobDetail, JobView, Logs, Progress, SiteView, Why

T = TypeVar("T")
Query = Mapping[str, str | int | float | bool | None]

CONNECT_TIME: Final = 3.0
ANSWER_TIME: Final = 15.0  # beyond the `wait` of a long poll
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0

_CLASSES: Final = {
    cls.code: cls
    for cls in (
        errors.UnreachableError,
        errors.NotFoundError,
        errors.DeniedError,
        errors.ConflictError,
        errors.StoreError,
    )
}
_BY_STATUS: Final = {
    401: errors.DeniedError,
    403: errors.DeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    502: errors.UnreachableError,
    503: errors.UnreachableError,
    504: errors.UnreachableError,
    507: errors.StoreError,
}
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_JOB_VIEWS: Final = TypeAdapter(list[JobView])
_MEASURED: Final = TypeAdapter(list[Measured])
_SITE_VIEWS: Final = TypeAdapter(list[SiteView])


class Client:
    """One control plane at ``url``. May be shared by threads; close it, or use ``with``.

    ``patience`` is for how many seconds a repeatable call is tried again while nothing answers.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        transport: httpx.BaseTransport | None = None,
        *,
        patience: float = 5.0,
    ) -> None:
        self.url = _checked_url(url)
        self.patience = patience
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            transport=transport,
            # A proxy from the environment never leads to this machine itself.
            trust_env=httpx.URL(self.url).host not in _LOOPBACK,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    # -- the control plane -------------------------------------------------------------------

    def health(self) -> Health:
        return self._get(Health, "/v1/health")

    def pool(self) -> Pool:
        return self._get(Pool, "/v1/pool")

    def measured(self) -> list[Measured]:
        """How fast runs of real jobs stepped, newest job first."""
        return self._decode(_MEASURED, self._send("GET", "/v1/measured"))

    def policy(self) -> Policy:
        return self._get(Policy, "/v1/policy")

    def sites(self) -> list[SiteView]:
        return self._decode(_SITE_VIEWS, self._send("GET", "/v1/sites"))

    # -- jobs --------------------------------------------------------------------------------

    def submit(self, spec: Job, user: str = "") -> JobDetail:
        """The acknowledged job: durable from here. Repeated safely by its key."""
        body = {"spec": spec.model_dump(mode="json"), "user": user}
        key = {"Idempotency-Key": uuid.uuid4().hex}
        return self._decode(JobDetail, self._send("POST", "/v1/jobs", json=body, headers=key))

    def jobs(self, *, everything: bool = False, limit: int | None = None) -> list[JobView]:
        """Jobs that have not ended and those that ended in the last 24 hours, or all of them."""
        query = {"all": "true" if everything else None, "limit": limit}
        return self._decode(_JOB_VIEWS, self._send("GET", "/v1/jobs", query=query))

    def job(self, ref: str) -> JobDetail:
        """``ref``: an id, a prefix of one id only, or a name (the newest of that name)."""
        return self._get(JobDetail, _job(ref))

    def why(self, ref: str) -> Why:
        return self._get(Why, _job(ref, "/why"))

    def cancel(self, ref: str) -> JobDetail:
        return self._decode(JobDetail, self._send("POST", _job(ref, "/cancel")))

    def events(self, ref: str, after: int = 0, wait: float = 0.0) -> Events:
        """Events numbered above ``after``; waits up to ``wait`` seconds for the first."""
        return self._get(Events, _job(ref, "/events"), {"after": after}, wait)

    def logs(
        self,
        ref: str,
        *,
        site: str | None = None,
        run: str | None = None,
        process: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        wait: float = 0.0,
    ) -> Logs:
        """A page of logs after ``cursor``, at most ``limit`` bytes."""
        query = {"site": site, "run": run, "process": process, "cursor": cursor, "limit": limit}
        return self._get(Logs, _job(ref, "/logs"), query, wait)

    def progress(
        self, ref: str, after: int = 0, *, limit: int | None = None, wait: float = 0.0
    ) -> Progress:
        """Progress lines numbered above ``after``, at most ``limit``."""
        query = {"after": after, "limit": limit}
        return self._get(Progress, _job(ref, "/progress"), query, wait)

    # -- bundles -----------------------------------------------------------------------------

    def has_bundle(self, digest: str) -> bool:
        """Whether the control plane already holds the packed workdir of that digest."""
        try:
            self._send("HEAD", f"/v1/bundles/{digest}")
        except errors.NotFoundError:
            return False
        return True

    def upload(self, digest: str, data: bytes) -> None:
        """Give the control plane a packed workdir; nothing is sent where it is there already."""
        if not self.has_bundle(digest):
            self._send("PUT", f"/v1/bundles/{digest}", content=data)

    def bundle(self, digest: str, to: Path) -> Path:
        """Fetch a packed workdir to the file ``to``: whole and of that sha256, or not at all."""
        part = to.with_name(f"{to.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            got = self._repeat(lambda: self._download(f"/v1/bundles/{digest}", part))
            if got != digest:
                raise errors.SkepError(f"bundle {digest}: what {self.url} sent has sha256 {got}")
            part.replace(to)
        except OSError as error:
            raise errors.StoreError(f"cannot keep bundle {digest} as {to}: {error}") from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
        return to

    def _download(self, path: str, part: Path) -> str:
        digest = hashlib.sha256()
        with self._http.stream("GET", path, timeout=_limits(0.0)) as response:
            if response.is_error:
                response.read()
                raise _meant(response)
            with part.open("wb") as file:
                for chunk in response.iter_bytes():
                    digest.update(chunk)
                    file.write(chunk)
        return digest.hexdigest()

    # -- agents ------------------------------------------------------------------------------

    def report(self, site: str, report: Report, wait: float = 0.0) -> Answer:
        """What the site should hold. Never repeated here: the agent's next report is newer."""
        content = report.model_dump_json().encode()
        path, query = f"/v1/sites/{site}/report", {"wait": wait or None}
        return self._decode(Answer, self._once("POST", path, query, wait, content=content))

    # -- how calls are made ------------------------------------------------------------------

    def _get(self, kind: type[T], path: str, query: Query | None = None, wait: float = 0.0) -> T:
        asked = {**(query or {}), "wait": wait or None}
        return self._decode(kind, self._send("GET", path, query=asked, wait=wait))

    def _send(
        self, method: str, path: str, *, query: Query | None = None, wait: float = 0.0, **body: Any
    ) -> httpx.Response:
        return self._repeat(lambda: self._once(method, path, query, wait, **body))

    def _once(
        self, method: str, path: str, query: Query | None, wait: float, **body: Any
    ) -> httpx.Response:
        params = {k: v for k, v in (query or {}).items() if v is not None}
        if "content" in body:
            kind = "application/json" if method == "POST" else "application/gzip"
            body["headers"] = {"Content-Type": kind}
        try:
            answer = self._http.request(method, path, params=params, timeout=_limits(wait), **body)
        except httpx.TransportError as error:
            raise _NoAnswerError(_unreachable(self.url, error)) from error
        if answer.is_error:
            raise _meant(answer)
        return answer

    def _repeat(self, call: Callable[[], T]) -> T:
        pause, until = FIRST_PAUSE, time.monotonic() + self.patience
        while True:
            try:
                return call()
            except (_NoAnswerError, httpx.TransportError) as error:
                if time.monotonic() + pause > until:
                    raise errors.UnreachableError(_unreachable(self.url, error)) from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _decode(self, kind: type[T] | TypeAdapter[T], answer: httpx.Response) -> T:
        adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
        try:
            return adapter.validate_json(answer.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise errors.SkepError(
                f"{answer.request.url} does not answer as this version of skep expects"
                f" ({where + ': ' if where else ''}{first['msg']})"
            ) from error


class _NoAnswerError(errors.UnreachableError):
    """The connection failed: worth another try where the call may be repeated."""


def _job(ref: str, rest: str = "") -> str:
    return f"/v1/jobs/{quote(ref, safe='')}{rest}"


def _limits(wait: float) -> httpx.Timeout:
    return httpx.Timeout(ANSWER_TIME + wait, connect=CONNECT_TIME)


def _checked_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise errors.InputError("server", url, "allowed: an address such as http://host:8700")
    return url.rstrip("/")


def _unreachable(url: str, error: Exception) -> str:
    if isinstance(error, _NoAnswerError):
        return str(error)
    cause = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error)
    return (
        f"no control plane answers at {url} ({cause or type(error).__name__}):"
        " start one with 'skep up', or name another with --server or SKEP_SERVER"
    )


def _meant(answer: httpx.Response) -> errors.SkepError:
    """The error that the server means."""
    try:
        told = answer.json()["error"]
        message, code = str(told["message"]), str(told["code"])
    except (ValueError, KeyError, TypeError):
        plain = _BY_STATUS.get(answer.status_code, errors.SkepError)
        return plain(f"{answer.request.url}: HTTP {answer.status_code} {answer.reason_phrase}")
    if code == errors.InputError.code:
        wrong = errors.InputError(
            str(told.get("field", "")), told.get("value"), str(told.get("allowed", ""))
        )
        wrong.args = (message,)
        return wrong
    return _CLASSES.get(code, errors.SkepError)(message)
