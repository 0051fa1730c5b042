"""A language model of many gigabytes beside the tower, or in the same file, costs no memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).parent.parent.parent
GIGABYTES = 3
MOST_GROWTH = 200 * 2**20

# VmHWM is the peak of this process alone; ru_maxrss would start at the peak of the process that started it.
CHILD = """
import sys
from pathlib import Path
from vtp_export.graphs.assembly import load_model

def peak():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

load_model("toy")
before = peak()
loaded = load_model(sys.argv[1])
print(peak() - before, loaded.frontend.width)
"""


def write_with_hole(path, tensors, hole):
    """A safetensors file whose last tensor has `hole` bytes that the disk does not hold."""
    header, body = {}, b""
    for name, tensor in tensors.items():
        data = tensor.contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    header["language_model.huge"] = {
        "dtype": "F16",
        "shape": [hole // 2],
        "data_offsets": [len(body), len(body) + hole],
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + body)
        file.truncate(8 + len(text) + len(body) + hole)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak is read from /proc, which Linux has")
@pytest.mark.parametrize("layout", ["one file", "shards"])
def test_peak_memory_does_not_know_the_language_model(single_llava, tmp_path, layout):
    front = {name: t for name, t in load_file(single_llava / "model.safetensors").items() if "language" not in name}
    (tmp_path / "config.json").write_bytes((single_llava / "config.json").read_bytes())
    hole = GIGABYTES * 2**30
    if layout == "one file":
        write_with_hole(tmp_path / "model.safetensors", front, hole)
    else:
        write_with_hole(tmp_path / "huge.safetensors", {}, hole)
        write_with_hole(tmp_path / "front.safetensors", front, 2)
        weight_map = {**dict.fromkeys(front, "front.safetensors"), "language_model.huge": "huge.safetensors"}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > hole
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    growth, width = map(int, child.stdout.split())
    assert width == 48
    assert growth < MOST_GROWTH
