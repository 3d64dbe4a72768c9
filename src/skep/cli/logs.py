"""``skep logs``: what the processes of a job wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from skep.cli.options import AsJson, Home, JobRef, Server

if TYPE_CHECKING:
    from skep.client import Client
    from skep.model.views import LogPart, Logs

WAIT = 10.0  # seconds of one long poll while following


def logs(
    job: JobRef,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    site: Annotated[str | None, typer.Option(help="Of one site.", show_default=False)] = None,
    run: Annotated[str | None, typer.Option(help="Of one run.", show_default=False)] = None,
    process: Annotated[
        str | None, typer.Option(help="Of one process: setup, or a rank.", show_default=False)
    ] = None,
    server: Server = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Print what a job's processes wrote.

    Lines of several processes begin with where each one ran.
    """
    from skep.cli.connect import connect
    from skep.errors import NotFoundError, nearest

    with connect(server, home) as client:
        detail = client.job(job)
        for word, given, known in (
            ("site", site, sorted({r.site for r in detail.runs})),
            ("run", run, sorted(r.run for r in detail.runs)),
        ):
            if given is not None and given not in known:
                there = ", ".join(known) or "none yet"
                near = nearest(given, known)
                raise NotFoundError(
                    f"job {detail.name} has no {word} {given!r}{near}; it has: {there}"
                )
        which = Which(site, run, process)
        pages = _pages(client, detail.id, follow, which)
        if as_json:
            _print_json(pages)
        else:
            Lines(several=process is None).put(pages)


class Which(NamedTuple):
    """Whose logs; None: of all."""

    site: str | None
    run: str | None
    process: str | None


def _pages(client: Client, job: str, follow: bool, which: Which) -> Iterator[Logs]:
    cursor: str | None = None
    while True:
        page = client.logs(
            job,
            site=which.site,
            run=which.run,
            process=which.process,
            cursor=cursor,
            wait=WAIT if follow else 0.0,
        )
        yield page
        if page.ended or (not follow and not page.parts):
            return
        cursor = page.cursor


def _print_json(pages: Iterator[Logs]) -> None:
    for page in pages:
        for part in page.parts:
            print(part.model_dump_json(), flush=True)


class Lines:
    """Puts together whole lines of each process, and says whose they are."""

    def __init__(self, several: bool) -> None:
        self._several = several
        self._rest: dict[tuple[str, str], tuple[str, str]] = {}

    def put(self, pages: Iterator[Logs]) -> None:
        """Print all pages; an unended last line too."""
        for page in pages:
            for part in page.parts:
                for line in self.take(part):
                    print(line)
            sys.stdout.flush()
        for line in self.rest():
            print(line)

    def take(self, part: LogPart) -> list[str]:
        """The lines that are whole now."""
        key = (part.run, part.process)
        mark = f"{part.site}/{part.process}" if self._several else ""
        whole, _, rest = (self._rest.get(key, ("", ""))[1] + part.text).rpartition("\n")
        self._rest[key] = (mark, rest)
        return [_marked(mark, line) for line in whole.split("\n")] if whole else []

    def rest(self) -> list[str]:
        """What was begun and not ended."""
        return [_marked(mark, line) for mark, line in self._rest.values() if line]


def _marked(mark: str, line: str) -> str:
    return f"{mark} | {line}" if mark else line
