"""The state folder of this user's control plane, and who works in it now."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skep.cli.process import is_ours
from skep.errors import StoreError

KEEPER_WORD = "skep.cli.keeper"
SERVER_WORD = "skep.api.server"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths under the state folder. The control plane's own files lie directly in it."""

    path: Path

    @property
    def keeper_folder(self) -> Path:
        return self.path / "keeper"

    @property
    def keeper_file(self) -> Path:
        return self.keeper_folder / "keeper.json"

    @property
    def server_file(self) -> Path:
        return self.path / "server.json"

    @property
    def shaper_file(self) -> Path:
        return self.path / "shaper.json"

    @property
    def relay_keys(self) -> Path:
        """Written by the control plane: a line for each job that a relay may serve."""
        return self.path / "relay-keys"

    @property
    def pool_file(self) -> Path:
        """Kept by a control plane at its start: where it lies, there is state to read."""
        return self.path / "pool.json"

    def token_file(self, name: str) -> Path:
        return self.path / "tokens" / name

    def log(self, child: str) -> Path:
        return self.keeper_folder / f"{child}.log"

    def token(self, name: str) -> str:
        """The token of that name; "" where there is none."""
        try:
            return self.token_file(name).read_text().strip()
        except OSError:
            return ""

    def server(self) -> str:
        """Address of the control plane that lives in this home; "" where none does."""
        told = read_json(self.server_file)
        pid, url = told.get("pid"), told.get("url")
        if isinstance(pid, int) and isinstance(url, str) and is_ours(pid, SERVER_WORD):
            return url
        return ""

    def keeper(self) -> int:
        """Process id of the living keeper; 0 where there is none."""
        pid = read_json(self.keeper_file).get("pid")
        ours = isinstance(pid, int) and is_ours(pid, KEEPER_WORD, str(self.path))
        return int(pid) if pid and ours else 0

    def make(self) -> None:
        """Create the folder, readable by this user alone. Raises ``StoreError``."""
        try:
            self.keeper_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(
                f"cannot create the state folder {self.path}: {error.strerror};"
                " choose another with --home or SKEP_HOME"
            ) from error
        if not os.access(self.keeper_folder, os.W_OK):
            raise StoreError(
                f"the state folder {self.path} cannot be written;"
                " choose another with --home or SKEP_HOME"
            )


def home_at(path: Path | None) -> Home:
    """The home at ``path``; by default ``$XDG_STATE_HOME/skep`` or ``~/.local/state/skep``."""
    if path is not None:
        return Home(path.expanduser().absolute())
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Home(Path(base).expanduser().absolute() / "skep")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all, for its owner alone. Raises ``StoreError``."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(data, file)
        fresh.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
