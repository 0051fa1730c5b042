"""The command line: parse, call one pipeline function, print, set the exit code.

Exit codes: 0 fine, 1 the check failed, 2 the user's mistake. Nothing heavy is imported before a command runs.
"""

import sys

from vtp_export.cli import checking, doctor, judging, making, serving, using  # their commands register themselves
from vtp_export.cli._app import app
from vtp_export.errors import VtpError

__all__ = ["app", "checking", "doctor", "judging", "main", "making", "serving", "using"]


def main() -> None:
    """The console script."""
    try:
        app()
    except VtpError as error:
        _leave(str(error))
    except ModuleNotFoundError as error:
        extra = {"torch", "transformers", "onnx", "onnxscript", "safetensors"}
        if error.name not in extra:
            raise
        _leave(f"this command needs {error.name}: pip install 'vtp-export[export]'")
    except KeyboardInterrupt:
        print("interrupted; nothing was left half written", file=sys.stderr)
        sys.exit(130)


def _leave(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)
