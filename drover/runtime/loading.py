"""The start of a process that lives long: what it loads stays, so that looking for garbage in it is time lost.

The collector looks through a third of a million objects again and again while they are made, which is a sixth of a
start, and whenever it takes its time later.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["loading"]


@contextmanager
def loading() -> Iterator[None]:
    """No collection meanwhile, and none ever of what is there afterwards."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
