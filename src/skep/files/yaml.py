"""Reads YAML files that strangers may have written: small, plain and without surprises.

The plain values follow YAML 1.2 (as in JSON): only ``true`` and ``false`` are truth values, so that
the country ``NO`` is Norway, ``010`` is ten and ``1:30`` is text. A key given twice, a tag, and
anchors that unfold to far more than the file are refused. Nothing is built recursively.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from skep.errors import InputError
from skep.files.problems import NOTHING, Loc, Plain, field_name, printable

KIB, MIB = 2**10, 2**20
MOST_DEPTH = 40
MOST_UNFOLDED = 100_000

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"(?![-+]?[0-9]+$)[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Value] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def read_bytes(path: Path, most: int, source: str) -> bytes:
    """The bytes of the file at ``path``; refused unread where it is larger than ``most``."""
    try:
        # Not blocking: a named pipe without a writer would wait for ever.
        with open(
            path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)
        ) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise InputError("file", Plain("no plain file"), "allowed: a file", source=source)
            if info.st_size > most:
                raise _too_large(info.st_size, most, source)
            return file.read(most)
    except (OSError, ValueError) as error:
        raise _unreadable(error, source) from None


def _too_large(size: int, most: int, source: str) -> InputError:
    got, allowed = Plain(f"{size / MIB:,.1f} MiB"), f"allowed: at most {_size(most)}"
    return InputError("file", got, allowed, source=source)


def _size(count: int) -> str:
    return f"{count // MIB} MiB" if count >= MIB else f"{count // KIB} KiB"


def _unreadable(error: Exception, source: str) -> InputError:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return InputError("file", NOTHING, "allowed: a file that exists", source=source)
        case IsADirectoryError():
            return InputError("file", Plain("a folder"), "allowed: a file", source=source)
        case PermissionError():
            got = Plain("a file that may not be read")
            return InputError("file", got, "allowed: a readable file", source=source)
        case _:
            return InputError("file", str(error), "allowed: a readable file", source=source)


def read_text(path: Path, most: int, *, source: str | None = None) -> str:
    """The UTF-8 text of the file at ``path``, of at most ``most`` bytes. Raises ``InputError``.

    ``source`` begins each error; by default the path.
    """
    source = printable(str(path)) if source is None else source
    data = read_bytes(path, most, source)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        got = Plain(f"byte 0x{data[error.start]:02x}")
        where = f"line {line}"
        raise InputError(where, got, "allowed: text in UTF-8", source=source) from None


def read_mapping(
    path: Path, most: int, *, text_under: Collection[str] = (), free: Collection[str] = ()
) -> dict[str, Value]:
    """The mapping that the YAML file at ``path`` holds; see ``parse_mapping``."""
    text = read_text(path, most)
    return parse_mapping(text, str(path), text_under=text_under, free=free)


def parse_mapping(
    text: str, source: str, *, text_under: Collection[str] = (), free: Collection[str] = ()
) -> dict[str, Value]:
    """The mapping that ``text`` holds.

    Values under the fields ``text_under`` stay as written (``007`` is text there); those under the
    fields ``free`` may hold control characters other than NUL. Raises ``InputError``.
    """
    source = printable(source)
    reader = _Reader(source, frozenset(text_under), frozenset(free))
    try:
        value = reader.read(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        raise _not_yaml(error, text, source) from None
    if not isinstance(value, dict):
        allowed = "allowed: a mapping of fields to values ('name: value' lines)"
        raise InputError("file", _kind(value), allowed, source=source)
    return value


def _kind(value: Value) -> object:
    if value is None:
        return NOTHING
    return Plain("a list") if isinstance(value, list) else value


def _not_yaml(error: yaml.YAMLError, text: str, source: str) -> InputError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not readable"
    if mark is None:
        position = getattr(error, "position", 0)
        line, column = text.count("\n", 0, position) + 1, 1
    else:
        line, column = mark.line + 1, mark.column + 1
    lines = text.splitlines()
    got: object = lines[line - 1].strip() if 0 < line <= len(lines) else Plain("the end")
    where = f"line {line}, column {column}"
    return InputError(where, got, f"not YAML: {printable(str(problem))}", source=source)


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read."""

    value: list[Value] | dict[str, Value]
    loc: Loc
    anchor: str | None
    key: str | None = None
    merging: bool = False
    merged: dict[str, Value] = field(default_factory=dict)
    size: int = 1


@dataclass(slots=True)
class _Reader:
    """Builds one document from YAML's events, without recursion."""

    source: str
    text_under: frozenset[str]
    free: frozenset[str]
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Value, int]] = field(default_factory=dict)
    unfolded: int = 0
    root: Value = None
    documents: int = 0

    def read(self, events: Iterator[yaml.Event]) -> Value:
        for event in events:
            match event:
                case yaml.DocumentStartEvent():
                    self._document(event)
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._start(event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._end(event)
                case yaml.AliasEvent():
                    self._alias(event)
        return self.root

    def _document(self, event: yaml.Event) -> None:
        self.documents += 1
        if self.documents > 1:
            raise self._refused(event, Plain("a second document"), "allowed: one document")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, event)
            return
        self._untagged(event)
        self._add(self._checked(self._plain(event)), event.anchor, 1, event)

    def _key(self, top: _Open, event: yaml.ScalarEvent) -> None:
        assert isinstance(top.value, dict)
        key: str = event.value
        if not event.style and key == "<<":
            top.key, top.merging = key, True
            return
        if _CONTROL.search(key):
            raise self._refused(event, key, "allowed: names without control characters")
        if key in top.value:
            at = f"given twice; allowed: {field_name((*top.loc, key))} once"
            raise self._refused(event, key, at)
        top.key = key

    def _plain(self, event: yaml.ScalarEvent) -> Value:
        text: str = event.value
        if event.style or (self.text_under and self._inside() in self.text_under):
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text):
            return int(text)
        number = float(text) if _FLOAT.fullmatch(text) else math.inf
        return number if math.isfinite(number) else text

    def _checked(self, value: Value) -> Value:
        found = _CONTROL.search(value) if isinstance(value, str) else None
        if found and isinstance(value, str) and ("\0" in value or self._field() not in self.free):
            allowed = "allowed: text without control characters"
            raise InputError(field_name(self._loc()), value[:200], allowed, source=self.source)
        return value

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        self._untagged(event)
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise self._refused(event, Plain("a list or mapping"), "allowed: text as a name")
        if len(self.stack) >= MOST_DEPTH:
            got = Plain(f"more than {MOST_DEPTH} levels")
            raise self._refused(event, got, f"allowed: at most {MOST_DEPTH} levels of nesting")
        empty: list[Value] | dict[str, Value]
        empty = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.stack.append(_Open(empty, self._loc(), event.anchor))

    def _end(self, event: yaml.Event) -> None:
        done = self.stack.pop()
        if isinstance(done.value, dict):
            done.value = {**done.merged, **done.value}
        self._add(done.value, done.anchor, done.size, event)

    def _alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor or ""
        if name not in self.anchors:
            got = Plain(f"*{printable(name)}")
            raise self._refused(event, got, "allowed: an anchor (&name) that was closed before")
        top = self.stack[-1]
        if isinstance(top.value, dict) and top.key is None:
            raise self._refused(event, Plain(f"*{name}"), "allowed: text as a name")
        value, size = self.anchors[name]
        self.unfolded += size
        if self.unfolded > MOST_UNFOLDED:
            got = Plain("anchors that unfold to more")
            raise self._refused(event, got, f"allowed: {MOST_UNFOLDED:,} values from anchors")
        self._add(value, None, size, event)

    def _add(self, value: Value, anchor: str | None, size: int, event: yaml.Event) -> None:
        if anchor:
            self.anchors[anchor] = (value, size)
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        top.size += size
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.merging:
            self._merge(top, value, event)
        elif top.key is not None:
            top.value[top.key] = value
        top.key, top.merging = None, False

    def _merge(self, top: _Open, value: Value, event: yaml.Event) -> None:
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, dict):
                raise self._refused(event, Plain("<<"), "allowed after <<: an alias of a mapping")
            top.merged = {**part, **top.merged}

    def _untagged(self, event: yaml.Event) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            raise self._refused(event, printable(tag), "allowed: plain values without tags")

    def _loc(self) -> Loc:
        if not self.stack:
            return ()
        top = self.stack[-1]
        last: int | str = len(top.value) if isinstance(top.value, list) else (top.key or "")
        return (*top.loc, last)

    def _inside(self) -> str:
        """The field of the top that holds what is read, and is not itself what is read."""
        return self._field() if len(self.stack) > 1 else ""

    def _field(self) -> str:
        loc = self._loc()
        return str(loc[0]) if loc else ""

    def _refused(self, event: yaml.Event, got: object, allowed: str) -> InputError:
        mark = event.start_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "file"
        return InputError(where, got, allowed, source=self.source)
