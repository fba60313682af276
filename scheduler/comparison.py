"""Nova's little language of extra specs: ``<in> ssd``, ``>= 3``, ``<or> a <or> b``, or a plain word."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["matches"]

_NUMBERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.ge,  # sic: Nova's "=" means at least
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
_TEXTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
    "<in>": operator.contains,
}


def matches(value: str, wanted: str) -> bool:
    """Whether *value* is as *wanted* (nova/scheduler/filters/extra_specs_ops.py).

    An operator reads the first word after it; what has no operator must be equal.  A comparison of numbers with a
    word that is none does not match, where Nova fails the request.
    """
    op, _, rest = wanted.strip().partition(" ")
    words = rest.split()
    if op == "<or>":
        return value in (word for word in words if word != "<or>")
    if op == "<all-in>":
        return bool(words) and all(word in value for word in words)
    if op in _TEXTS:
        return bool(words) and _TEXTS[op](value, words[0])
    if op in _NUMBERS:
        return bool(words) and _compare_numbers(_NUMBERS[op], value, words[0])
    return value == wanted


def _compare_numbers(compare: Callable[[Any, Any], bool], value: str, wanted: str) -> bool:
    try:
        return compare(float(value), float(wanted))
    except ValueError:
        return False
