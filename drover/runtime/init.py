"""PID 1 of a pid namespace: reaps what is orphaned, and holds the namespace open until it is killed.

Run as a file by a bare interpreter; imports nothing of Drover.
"""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Never returns. The kernel keeps every signal but an outer SIGKILL from a PID 1 that has no handler."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        signal.sigwait({signal.SIGCHLD})
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return


if __name__ == "__main__":
    main()
