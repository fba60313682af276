"""Lists of CPUs as people write them."""

from __future__ import annotations

import re

__all__ = ["cpu_set"]

_PART = re.compile(r"(?P<not>\^?)(?P<first>[0-9]{1,4})(-(?P<last>[0-9]{1,4}))?")


def cpu_set(text: str) -> frozenset[int]:
    """``0-3,^2,8`` in Nova's syntax: numbers, spans, and ``^`` before what is left out.

    :raises ValueError: it is no such list; says which part.
    """
    chosen: set[int] = set()
    left_out: set[int] = set()
    for part in filter(None, (word.strip() for word in text.split(","))):
        found = _PART.fullmatch(part)
        if found is None:
            raise ValueError(f"{part!r} is no CPU, nor a span of them such as 0-3 or ^2")
        cpus = range(int(found["first"]), int(found["last"] or found["first"]) + 1)
        (left_out if found["not"] else chosen).update(cpus)
    return frozenset(chosen - left_out)
