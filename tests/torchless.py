"""A command in a process of its own, which must do without what a board does not have."""

import json
import subprocess
import sys

CODE = """
import sys
from vtp_export.cli import main
try:
    main()
finally:
    print(sorted({"torch", "transformers", "safetensors"} & set(sys.modules)), file=sys.stderr)
"""


def without_torch(*words):
    """What `vtp-export WORDS --json` prints; torch, transformers and safetensors were not imported."""
    command = [sys.executable, "-c", CODE, *map(str, words), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr.splitlines()[-1] == "[]"
    return json.loads(result.stdout)
