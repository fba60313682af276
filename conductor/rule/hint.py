"""Where an instance is to go, as its request says it."""

from __future__ import annotations

import math

from drover import errors
from drover.objects.group import DEFAULT_ZONE, Hints

__all__ = ["LONGEST_WAIT_S", "check_hints", "check_together"]

#: a year
LONGEST_WAIT_S = 366 * 86400.0
#: instances that one hint may name: each is looked up
MOST_NAMED = 50


def check_hints(hints: Hints) -> None:
    """What can be told without looking anything up.

    :raises errors.InvalidHints: they make no sense.
    """
    if not (math.isfinite(hints.wait_s) and 0 <= hints.wait_s <= LONGEST_WAIT_S):
        raise errors.InvalidHints(reason=f"to wait {hints.wait_s:g} s for room is not possible")
    if hints.wait_s and not hints.wait:
        raise errors.InvalidHints(reason="how long it may wait for room goes with waiting")
    for named, words in ((hints.same_host, "same host"), (hints.different_host, "different host")):
        if len(named) > MOST_NAMED:
            raise errors.InvalidHints(reason=f"{words} names {len(named)} instances, at most {MOST_NAMED}")


def check_together(hints: Hints, host_zone: str) -> None:
    """Whether hints that were looked up can hold together.

    :param host_zone: availability zone of the host that *hints* names, "" for the default one.
    :raises errors.InvalidHints: they cannot, wherever the instances are.
    """
    if both := sorted(set(hints.same_host) & set(hints.different_host)):
        raise errors.InvalidHints(reason=f"on the same host as instance {both[0]}, and on another")
    host_zone = host_zone or DEFAULT_ZONE
    if hints.host and hints.availability_zone and host_zone != hints.availability_zone:
        where = f"in availability zone {host_zone!r}, not in {hints.availability_zone!r}"
        raise errors.InvalidHints(reason=f"host {hints.host!r} is {where}")
