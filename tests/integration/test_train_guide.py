"""The guide from a plain loop to three sites: its script, its three commands, what they print."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from train_sites import free_port

GUIDE = Path(__file__).parents[2] / "docs/guides/three-sites.md"


def test_three_shells_end_on_one_model_and_the_whole_data_set(tmp_path):
    text = GUIDE.read_text()
    (script,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    (tmp_path / "train.py").write_text("import torch\ntorch.set_num_threads(1)\n" + script)
    (block,) = re.findall(r"^```\n(python train.*?)^```", text, re.M | re.S)
    for port in ("7001", "7002", "7003"):
        block = block.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("SKEP_")}
    shells = []
    for line in block.splitlines():
        words = [sys.executable, *shlex.split(line)[1:]]
        shells.append(
            subprocess.Popen(words, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True)
        )
    said = [shell.communicate(timeout=120)[0].splitlines() for shell in shells]
    last = [lines[-1].split() for lines in said]
    assert len({words[1] for words in last}) == 1
    assert [words[3] for words in last] == ["720000"] * 3
    assert max(float(words[5]) for words in last) < 1.0
    assert any("codec: int4" in line for line in said[0])
