"""What ``make run`` promises: one job over three sites, better than the best of them alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Run


@pytest.mark.real
@pytest.mark.timeout(600)
def test_three_sites_together_are_better_than_the_best_alone(skep: Run, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    words = ["examples/tinygpt/job.yaml", "--compare-alone", "--json", "--report", str(page)]
    done = skep("run", *words, timeout=400)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    together, alone = told["figures"], told["alone"]
    assert len(together["sites"]) == 3
    assert len({site["site"] for site in together["sites"]}) == 3
    assert together["heldout_last"] < alone["heldout"], (together["heldout_last"], alone["heldout"])
    assert alone["wall_s"] > 0.8 * together["wall_s"], done.stdout[-6000:]
    assert together["tokens"] > 1.3 * alone["tokens"]
    assert "</html>" in page.read_text()[-200:]
    assert "http://" not in page.read_text().replace("http://www.w3.org", "")
