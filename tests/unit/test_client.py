from __future__ import annotations

import hashlib
import json
from pathlib import Path

import httpx
import pytest

from skep.client import Client
from skep.errors import (
    DeniedError,
    InputError,
    NotFoundError,
    SkepError,
    StoreError,
    UnreachableError,
)
from skep.model.job import Job
from skep.model.message import Report

DETAIL = {
    "id": "j1", "name": "a", "user": "u", "queue": "default", "priority": 0, "phase": "waiting",
    "chips": 1, "chip": "", "sites": [], "submitted_at": 1.0, "reason": "", "version": 1,
    "runs": [], "spec": {"name": "a", "run": "true"},
}  # fmt: skip


def client(answer, **more) -> Client:
    return Client("http://there:1", "secret", httpx.MockTransport(answer), **more)


def error(status: int, **told) -> httpx.Response:
    return httpx.Response(status, json={"error": told})


def test_a_submit_sends_spec_user_and_token_and_gives_the_job() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201, json=DETAIL)

    job = client(answer).submit(Job(name="a", run="true"), "u")
    assert job.id == "j1"
    assert seen[0].headers["authorization"] == "Bearer secret"
    assert json.loads(seen[0].content)["user"] == "u"


def test_a_submit_whose_connection_breaks_is_repeated_with_the_same_key() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) < 3:
            raise httpx.ReadError("cut")
        return httpx.Response(201, json=DETAIL)

    assert client(answer).submit(Job(name="a", run="true")).id == "j1"
    assert len(keys) == 3
    assert len(set(keys)) == 1
    keys.clear()
    client(answer).submit(Job(name="a", run="true"))
    assert len(set(keys)) == 1


def test_each_submit_has_a_key_of_its_own() -> None:
    keys: set[str] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        keys.add(request.headers["idempotency-key"])
        return httpx.Response(201, json=DETAIL)

    one = client(answer)
    one.submit(Job(name="a", run="true"))
    one.submit(Job(name="a", run="true"))
    assert len(keys) == 2


def test_a_report_is_not_repeated() -> None:
    calls = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        raise httpx.ConnectError("refused")

    with pytest.raises(UnreachableError, match=r"there:1.*refused"):
        client(answer).report("a", Report(agent="x"))
    assert calls == 1


def test_nobody_there_says_the_address_and_what_to_try() -> None:
    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:9 .*skep up.*--server") as e:
        Client("http://127.0.0.1:9", patience=0).health()
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "not_found", NotFoundError),
        (403, "denied", DeniedError),
        (507, "store", StoreError),
        (503, "unreachable", UnreachableError),
        (500, "error", SkepError),
    ],
)
def test_errors_come_back_as_their_class(status: int, code: str, kind: type[SkepError]) -> None:
    one = client(lambda _: error(status, code=code, message="one line"))
    with pytest.raises(kind, match="one line") as e:
        one.job("x")
    assert type(e.value) is kind


def test_bad_input_keeps_field_value_and_message() -> None:
    told = {"code": "bad_input", "message": "job: chips: got 9; there are 8", "field": "chips",
            "value": 9, "allowed": "there are 8"}  # fmt: skip
    with pytest.raises(InputError) as e:
        client(lambda _: error(422, **told)).job("x")
    assert (e.value.field, e.value.value, e.value.allowed) == ("chips", 9, "there are 8")
    assert str(e.value) == told["message"]


@pytest.mark.parametrize("body", ["<html>", "{}", '{"error": 3}', '{"error": {"code": 1}}'])
def test_an_answer_of_something_else_is_an_error_of_one_line(body: str) -> None:
    with pytest.raises(NotFoundError, match="404"):
        client(lambda _: httpx.Response(404, text=body)).job("x")
    with pytest.raises(SkepError, match="as this version of skep expects"):
        client(lambda _: httpx.Response(200, text=body)).job("x")


def test_a_reference_cannot_leave_its_place_in_the_path() -> None:
    paths: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(200, json=DETAIL)

    client(answer).job("../x?y/é")
    assert paths == [b"/v1/jobs/..%2Fx%3Fy%2F%C3%A9"]


@pytest.mark.parametrize("url", ["", "there", "ftp://x", "http://", "http://a:b"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="server"):
        Client(url)


def test_a_bundle_arrives_whole_or_not_at_all(tmp_path: Path) -> None:
    data = b"z" * 300_000
    digest = hashlib.sha256(data).hexdigest()
    one = client(lambda _: httpx.Response(200, content=data))
    to = tmp_path / "new" / "b.tar.gz"
    assert one.bundle(digest, to).read_bytes() == data
    other = tmp_path / "other"
    with pytest.raises(SkepError, match="sha256"):
        one.bundle("0" * 64, other)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["b.tar.gz", "new"]
    with pytest.raises(StoreError):
        one.bundle(digest, to / "under-a-file")


def test_an_upload_is_skipped_where_the_bundle_is_known() -> None:
    methods: list[str] = []
    known = False

    def answer(request: httpx.Request) -> httpx.Response:
        methods.append(request.method)
        return httpx.Response(200 if known or request.method == "PUT" else 404)

    client(answer).upload("0" * 64, b"x")
    known = True
    client(answer).upload("0" * 64, b"x")
    assert methods == ["HEAD", "PUT", "HEAD"]


def test_queries_leave_out_what_is_not_asked() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.query.decode())
        return httpx.Response(200, json={"parts": [], "cursor": "c", "ended": True})

    client(answer).logs("j", site="a", cursor="q w", wait=2)
    assert seen == ["site=a&cursor=q+w&wait=2"]
