"""Names that people give."""

from __future__ import annotations

import re

from drover import errors

__all__ = ["check_hostname", "check_name", "looks_like_id", "numbered"]

#: longest label of a host name (RFC 1123, 2.1)
LONGEST_LABEL = 63
#: longest name of anything else, in characters
LONGEST_NAME = 255

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def looks_like_id(text: str) -> bool:
    """Whether *text* has the form of a UUID; names must not, since references are names or ids."""
    return _ID.fullmatch(text) is not None


def check_hostname(name: str) -> str:
    """*name* itself when it can be the host name of a guest: an RFC 1123 label in lower case.

    :raises errors.InvalidName: it cannot; the reason says why.
    """
    reason = ""
    if not name:
        reason = "it is empty"
    elif len(name) > LONGEST_LABEL:
        reason = f"it has {len(name)} characters, at most {LONGEST_LABEL} fit a host name"
    elif not _LABEL.fullmatch(name):
        reason = "a host name has only a-z, 0-9 and -, with no - at either end"
    elif looks_like_id(name):
        reason = "it has the form of an id"
    if reason:
        raise errors.InvalidName(name=name, what="host name", reason=reason)
    return name


def check_name(name: str, what: str) -> str:
    """*name* itself when it can name a flavor, image, network or keypair (*what*).

    :raises errors.InvalidName: it cannot; the reason says why.
    """
    reason = ""
    if not name:
        reason = "it is empty"
    elif len(name) > LONGEST_NAME:
        reason = f"it has {len(name)} characters, at most {LONGEST_NAME} are allowed"
    elif not name.isprintable() or name != name.strip():
        reason = "it has control characters, or spaces at an end"
    elif looks_like_id(name):
        reason = "it has the form of an id"
    if reason:
        raise errors.InvalidName(name=name, what=f"{what} name", reason=reason)
    return name


def numbered(name: str, count: int) -> tuple[str, ...]:
    """The host names of *count* (≥ 1) instances: *name* alone, or ``name-1`` … ``name-N`` as Nova makes them.

    :raises errors.InvalidName: one of them is no host name.
    """
    if count == 1:
        return (check_hostname(name),)
    return tuple(check_hostname(f"{name}-{number}") for number in range(1, count + 1))
