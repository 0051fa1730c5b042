"""Where torch computes: a device that is asked for is there, and computes what float32 means."""

import torch

from vtp_export.errors import SpecError, UnavailableError, UnknownNameError

DEVICES = ("cpu", "cuda")
DTYPES = ("float32", "float16", "bfloat16")


def prepare(device: str, threads: int | None = None) -> None:
    """Set torch up for a device.

    Args:
        device: one of `DEVICES`. It is an order: where it is not there, this fails.
        threads: CPU threads of one operation, or None for torch's own choice.

    Raises:
        UnknownNameError: there is no such device.
        SpecError: less than one thread.
        UnavailableError: the machine, or this torch, has none of that kind.
    """
    if device not in DEVICES:
        raise UnknownNameError("device", device, DEVICES)
    if threads is not None:
        if threads < 1:
            raise SpecError(f"threads is {threads}; it must be at least 1")
        torch.set_num_threads(threads)
    if device == "cuda":
        if reason := _why_no_cuda():
            raise UnavailableError(reason)
        # 10 bits of mantissa are too few for effective rank and distances, and torch allows them in convolutions.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def dtype_of(name: str) -> torch.dtype:
    """A dtype by its name.

    Raises:
        UnknownNameError: it is none of `DTYPES`.

    Example:
        >>> dtype_of("bfloat16")
        torch.bfloat16
    """
    if name not in DTYPES:
        raise UnknownNameError("dtype", name, DTYPES)
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _why_no_cuda() -> str | None:
    if torch.version.cuda is None:
        return f"this torch ({torch.__version__}) is built without CUDA; install one of https://pytorch.org, or use cpu"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f"torch cannot use CUDA: {str(error).splitlines()[0]}"
    return None
