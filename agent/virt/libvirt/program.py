"""Other programs, run under a deadline and a cancel token."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from agent.virt.driver import CancelToken
from drover import errors
from drover.runtime import Runtime

__all__ = ["run"]

#: how long a cancelled program may go on, in seconds
_LOOK_S = 0.2
_SIGKILL = 9


def run(
    runtime: Runtime,
    argv: Sequence[str],
    *,
    timeout_s: float,
    cancel: CancelToken | None = None,
    feed: str = "",
    success: int = 0,
) -> str:
    """Run *argv* with *feed* on its standard input; returns its standard output.

    :param success: the exit status of success.

    :raises errors.DriverTimeout: it took longer than *timeout_s* and was killed.
    :raises errors.OperationCancelled: *cancel* was set; it was killed.
    :raises errors.DiskFull: it says that there is no space left.
    :raises errors.DriverError: it is not installed, or failed; the detail is the last line it wrote.
    """
    deadline = runtime.clock.monotonic() + timeout_s
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
    except OSError as exc:
        raise errors.DriverError(operation=argv[0], detail=str(exc)) from exc
    with process:
        try:
            out, err = _wait(runtime, process, deadline, cancel, feed)
        except subprocess.TimeoutExpired:
            raise errors.DriverTimeout(operation=" ".join(argv[:2]), timeout_s=timeout_s) from None
        finally:
            process.kill()  # nothing to kill when it has ended
    if process.returncode != success:
        raise _failure(argv, process.returncode, err)
    return out


def _wait(
    runtime: Runtime, process: subprocess.Popen[str], deadline: float, cancel: CancelToken | None, feed: str
) -> tuple[str, str]:
    text: str | None = feed
    while True:
        if cancel is not None:
            cancel.check()
        left_s = deadline - runtime.clock.monotonic()
        try:
            return process.communicate(text, timeout=max(0.0, min(_LOOK_S, left_s)))
        except subprocess.TimeoutExpired:
            text = None  # Popen keeps what is not yet written
            if left_s <= _LOOK_S:
                raise


def _failure(argv: Sequence[str], status: int, err: str) -> errors.DriverError:
    lines = err.strip().splitlines()
    if "No space left on device" in err:
        return errors.DiskFull(what=argv[-1], path=lines[-1])
    if status == -_SIGKILL:
        lines = ["killed, out of CPU time or memory"]
    return errors.DriverError(operation=" ".join(argv[:2]), detail=lines[-1] if lines else f"exit status {status}")
