"""Every command in the README and the guides is run: the ``sh`` blocks, in their order.

Left out here, as CI runs them itself: ``make …`` and what installs; the two-shell example of the
training guide has a test of its own (tests/integration).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = ("make", ". .venv", "pip ", "git ", "#", "sudo", "export ")
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)


def commands(page: Path) -> list[str]:
    """Lines of the page's ``sh`` blocks that this test runs; continued lines joined."""
    blocks = BLOCK.findall(page.read_text())
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith(ELSEWHERE)]


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: p.name)
@pytest.mark.timeout(600)
def test_every_command_works(page: Path, tmp_path: Path) -> None:
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SKEP_HOME": str(tmp_path / "home"),
        "NO_COLOR": "1",
    }
    try:
        for line in commands(page):
            done = subprocess.run(
                ["bash", "-c", line], env=env, cwd=ROOT, capture_output=True, text=True, timeout=240
            )
            assert done.returncode == 0, f"{page.name}: {line}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stdout + done.stderr, line
    finally:
        down = ["bash", "-c", "skep down --force"]
        subprocess.run(down, env=env, cwd=ROOT, capture_output=True, check=False)


def test_links_in_the_docs_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*PAGES, ROOT / "CONTRIBUTING.md"]
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken
