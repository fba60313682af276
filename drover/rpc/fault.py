"""Message loss on purpose: what the embedded bus asks before it delivers anything."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["DELIVER", "DROP", "DUPLICATE", "Fault", "FaultPolicy", "NoFaults", "Parcel", "ParcelKind"]


class ParcelKind(StrEnum):
    REQUEST = "request"
    REPLY = "reply"
    CAST = "cast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One message on its way. Sender and receiver of a reply are bus names; a request goes to an address."""

    kind: ParcelKind
    sender: str
    receiver: str
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What becomes of a parcel: so many copies of it, each after so many seconds."""

    copies: int = 1
    delay_s: float = 0.0


DELIVER = Fault()
DROP = Fault(copies=0)
DUPLICATE = Fault(copies=2)


class FaultPolicy(Protocol):
    def judge(self, parcel: Parcel) -> Fault:
        """The fate of one parcel.

        :raises drover.errors.BusUnavailable: the broker is down; the sender of a request or cast gets this error,
            a reply is lost.
        """


class NoFaults:
    """Everything arrives once, at once."""

    def judge(self, parcel: Parcel) -> Fault:  # noqa: ARG002
        return DELIVER
