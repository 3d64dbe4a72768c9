"""The folder of bundles: whole, of the digest that they say, or not at all."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from skep.errors import InputError, NotFoundError
from skep.store.bundles import BundleFolder

CONTENT = b"a packed workdir" * 200_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def pieces() -> Iterator[bytes]:
    for start in range(0, len(CONTENT), 70_000):
        yield CONTENT[start : start + 70_000]


@pytest.mark.parametrize("content", [CONTENT, io.BytesIO(CONTENT), pieces()], ids=type)
def test_a_bundle_is_kept(tmp_path: Path, content: bytes) -> None:
    bundles = BundleFolder(tmp_path / "bundles")
    assert not bundles.has(DIGEST)
    file = bundles.put(DIGEST, content)
    assert file == bundles.path(DIGEST)
    assert bundles.has(DIGEST)
    assert file.read_bytes() == CONTENT
    assert list(file.parent.iterdir()) == [file]


def test_a_known_bundle_is_not_written_again(tmp_path: Path) -> None:
    bundles = BundleFolder(tmp_path)
    before = bundles.put(DIGEST, CONTENT).stat()
    again = bundles.put(DIGEST, CONTENT).stat()
    assert (again.st_ino, again.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_other_bytes_than_said_are_refused(tmp_path: Path) -> None:
    bundles = BundleFolder(tmp_path)
    with pytest.raises(InputError, match=DIGEST):
        bundles.put(DIGEST, CONTENT + b"!")
    assert list(tmp_path.iterdir()) == []
    assert bundles.put(DIGEST, CONTENT).read_bytes() == CONTENT


def test_a_stream_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield CONTENT[:1000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        BundleFolder(tmp_path).put(DIGEST, broken())
    assert list(tmp_path.iterdir()) == []


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at most 1000 bytes"):
        BundleFolder(tmp_path, limit=1000).put(DIGEST, pieces())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_bundle_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=DIGEST):
        BundleFolder(tmp_path / "none").path(DIGEST)


@pytest.mark.parametrize(
    "digest", ["", "..", "../" + "a" * 61, "A" * 64, "a" * 63, "a" * 64 + "\n"]
)
def test_what_is_no_digest_is_refused(tmp_path: Path, digest: str) -> None:
    bundles = BundleFolder(tmp_path)
    for action in (bundles.has, bundles.path, lambda d: bundles.put(d, b"")):
        with pytest.raises(InputError, match="SHA-256"):
            action(digest)
