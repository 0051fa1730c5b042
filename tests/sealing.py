"""Records changed on purpose, and sealed again: what must be refused for what it says, and not for its seal."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vtp_export.json_records import SEAL, seal


def sealed(keys: dict[str, Any]) -> str:
    """The JSON of a record with these keys, with the seal that they take."""
    keys = {key: value for key, value in keys.items() if key != SEAL}
    return json.dumps({**keys, SEAL: seal(keys)})


def reseal(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a record where it lies."""
    keys = json.loads(path.read_text())
    change(keys)
    path.write_text(sealed(keys))
