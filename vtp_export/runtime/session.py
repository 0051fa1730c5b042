"""An opened model, of whatever format: what every backend's, and the eager graph's, sessions have in common."""

import ctypes
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from vtp_export.errors import ArtefactError, OutputError, UnavailableError
from vtp_export.spec import TensorSpec

NARROW = ("float16", "bfloat16", "int8", "uint8")
"""What weights are in, where they are narrower than float32."""

Arrays = Mapping[str, np.ndarray]

UNPORTABLE = (
    "an open artefact belongs to one process and cannot be pickled or copied; pass the folder on, and load it there"
)


def refuse_not_finite(results: Mapping[str, Any]) -> None:
    """Numbers that mean nothing must not be taken for a result.

    Args:
        results: arrays (b, ...) by name, or what becomes one without a copy; whole numbers are finite.

    Raises:
        OutputError: a value is NaN or infinite; names the first output and the images.
    """
    for name, result in results.items():
        array = np.asarray(result)
        if array.dtype.kind != "f":
            continue
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            raise OutputError(name, np.flatnonzero(~finite).tolist())


class _Opened:
    """The sessions of this process, and whether there ever was one."""

    def __init__(self) -> None:
        self.ever = False
        self.alive: weakref.WeakSet[Session] = weakref.WeakSet()

    def add(self, session: "Session") -> None:
        """One more."""
        self.ever = True
        self.alive.add(session)

    def forked(self) -> None:
        """In a child that was forked: never free what the parent opened, not even when the process ends.

        A runtime joins its threads as it goes, and a fork has none of them: it would wait for ever, or crash.
        """
        for session in self.alive:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
        libc = ctypes.CDLL(None)
        if self.ever and hasattr(libc, "on_exit"):
            # What is registered last is called first: after Python has ended well the buffers of C are written, and the
            # process is gone before the libraries' own destructors are called.
            libc.on_exit(libc._exit, None)
            libc["__cxa_atexit"](libc.fflush, None, None)


_opened = _Opened()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_opened.forked)


class Session(ABC):
    """A loaded model. Leaving the `with` block frees it. Safe to use from several threads at once.

    It lives in the process that opened it: a child that was forked can neither run nor free it.

    Args:
        outputs: what every run returns, in order.
        device: where it runs, for example "cpu".
        notes: what the user should know of how it runs, a sentence each.
    """

    provider: str | None = None
    """What runs it there, by the runtime's own name, where the runtime has several."""

    def __init__(self, outputs: tuple[TensorSpec, ...], device: str, notes: tuple[str, ...] = ()) -> None:
        self.outputs, self.device, self.notes = outputs, device, notes
        self._closed, self._process = False, os.getpid()
        _opened.add(self)

    def run(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name, in order, in memory that the caller owns.

        Args:
            arrays: inputs by name, checked against the manifest by the caller.

        Raises:
            ValueError: the session is closed.
            UnavailableError: another process opened it.
            ArtefactError: the model returns other outputs than were promised.
            OutputError: an output is not finite.
        """
        self._refuse_closed()
        results = self._run(arrays)
        batch = len(next(iter(arrays.values())))
        for spec in self.outputs:
            shape = tuple(batch if axis == "b" else axis for axis in spec.shape)
            array = results[spec.name]
            if array.shape != shape or array.dtype != spec.dtype:
                raise ArtefactError(
                    f"the model returns '{spec.name}' as {array.dtype} {array.shape}, and the manifest promises "
                    f"{spec.dtype} {shape}; export again"
                )
        refuse_not_finite(results)
        return results

    def run_device(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """As `run`, with arrays that stay on the session's device.

        Args:
            arrays: contiguous, with `__dlpack__`, on that device; they are not copied. Work that makes them must be
                finished, or be queued on the device's default stream.

        Returns:
            Objects with `__dlpack__` and `__dlpack_device__`, finished; their memory is not used again.

        Raises:
            ValueError: the session is closed.
            UnavailableError: this format, or the version of its runtime, has no such way; or another process opened it.
            OutputError: an output is not finite; of arrays that are far away, those of one number an image are looked
                at.
        """
        self._refuse_closed()
        results = self._run_device(arrays)
        refuse_not_finite(self._magnitudes(results))
        return results

    def close(self) -> None:
        """Free the runtime's memory; nothing the second time, nor in another process than the one that opened it."""
        if not self._closed:
            self._closed = True
            if self._process == os.getpid():
                self._close()

    def __enter__(self) -> "Session":
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise UnavailableError(UNPORTABLE)

    @abstractmethod
    def _run(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """See `run`; `named` gives outputs their names where the runtime knows none."""

    def narrow_weights(self) -> dict[str, int] | None:
        """How many weights of matrices are in less than float32, by dtype; None where that cannot be read."""
        return None

    def _run_device(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """See `run_device`."""
        raise UnavailableError("this format returns NumPy arrays only; use run")

    def _magnitudes(self, results: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Of what `_run_device` returned: NumPy arrays (b, ...) that are finite if it is, as far as that is cheap."""
        return {}

    @property
    def _measures(self) -> list[str]:
        """Outputs of one number an image."""
        return [spec.name for spec in self.outputs if len(spec.shape) == 1]

    @abstractmethod
    def _close(self) -> None:
        """Free the runtime's memory. Called once."""

    def named(self, results: Sequence[Any]) -> dict[str, Any]:
        """Results by the names of the outputs.

        Raises:
            ArtefactError: there are more or fewer than were promised.
        """
        names = [spec.name for spec in self.outputs]
        if len(results) != len(names):
            raise ArtefactError(
                f"the model returns {len(results)} outputs, and the manifest promises {len(names)} "
                f"({', '.join(names)}); export again"
            )
        return dict(zip(names, results, strict=True))

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ValueError("this session is closed")
        if self._process != os.getpid():
            raise UnavailableError(
                "this was opened in the process that this one was forked from, and a fork has none of its threads; "
                "load it here, after the fork, or start processes with multiprocessing's spawn (docs/serving.md)"
            )
