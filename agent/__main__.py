"""``drover-agent``: what begins the process."""

from __future__ import annotations

import sys

from drover.runtime.loading import loading

__all__ = ["main"]


def main() -> int:
    """The exit code."""
    with loading():
        from agent.cmd import serve
    return serve()


if __name__ == "__main__":
    sys.exit(main())
