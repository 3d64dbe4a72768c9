"""The state folder of a control plane: where the state, the tokens and the address lie."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from skep.errors import StoreError
from skep.model.policy import Policy
from skep.model.site import Pool


class StateFolder:
    """Paths and small files of one control plane's state. Secrets are mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.bundles = path / "bundles"
        self.tokens = path / "tokens"
        self.server = path / "server.json"
        self.relay_keys = path / "relay-keys"
        self._relayed: dict[str, str] = {}  # job -> its key
        self._pool = path / "pool.json"
        self._policy = path / "policy.json"

    def make(self) -> None:
        """Create what is missing. Raises ``StoreError`` where that cannot be done."""
        try:
            for folder in (self.path, self.logs, self.bundles, self.tokens):
                folder.mkdir(parents=True, exist_ok=True)
            self.tokens.chmod(0o700)
        except OSError as error:
            raise StoreError(
                f"cannot create the state folder {self.path}: {error.strerror}; "
                "choose another with --home or SKEP_HOME"
            ) from None

    def token(self, name: str) -> str:
        """The token of that name (``admin``, ``site-NAME``, ``user-NAME``); made when missing."""
        path = self.tokens / name
        try:
            if path.exists():
                return path.read_text().strip()
            token = secrets.token_urlsafe(32)
            write_private(path, token)
        except OSError as error:
            raise StoreError(f"cannot keep a token in {path}: {error.strerror}") from None
        return token

    def let_meet(self, job: str, key: str) -> None:
        """From now on a relay that reads ``relay_keys`` serves this job. Raises ``StoreError``."""
        if self._relayed.get(job) == key:
            return
        self._relayed[job] = key
        try:
            write_private(self.relay_keys, "".join(f"{k}\n" for k in self._relayed.values()))
        except OSError as error:
            raise StoreError(f"cannot write {self.relay_keys}: {error.strerror}") from None

    def principals(self) -> dict[str, str]:
        """Token -> name of its file, for all tokens."""
        return {p.read_text().strip(): p.name for p in self.tokens.iterdir() if p.is_file()}

    def remember(self, pool: Pool, policy: Policy) -> None:
        """Keep the files that the control plane was started with, for commands without it."""
        write_private(self._pool, pool.model_dump_json())
        write_private(self._policy, policy.model_dump_json())

    def recall(self) -> tuple[Pool, Policy]:
        """What ``remember`` kept. Raises ``StoreError`` where nothing was."""
        try:
            pool = Pool.model_validate_json(self._pool.read_text())
            return pool, Policy.model_validate_json(self._policy.read_text())
        except OSError:
            raise StoreError(f"no control plane has ever run with the state {self.path}") from None

    def announce(self, url: str) -> None:
        """Say where the server listens."""
        write_private(self.server, json.dumps({"url": url, "pid": os.getpid()}))

    def address(self) -> tuple[str, int] | None:
        """(url, pid) of the server that was last announced."""
        try:
            data = json.loads(self.server.read_text())
            return str(data["url"]), int(data["pid"])
        except (OSError, ValueError, KeyError):
            return None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
