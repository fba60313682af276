"""The hardware that hosts have left, as claims see it: read after the hosts' rows are locked, hence exact."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, select

from drover import hardware
from drover.db.bulk import among, listed
from drover.db.schema import allocation, host_capacity
from drover.objects import codec
from drover.objects.hardware import Hardware, HardwareAsk, HardwareClaim

__all__ = ["HardwareLeft"]

#: (instance uuid, epoch)
_Holder = tuple[str, int]


class HardwareLeft:
    """What is offered and what is taken of it, on hosts that this transaction holds."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._offers: dict[str, Hardware] = {}
        self._taken: dict[str, list[tuple[_Holder, HardwareClaim]]] = {}

    def read(self, hosts: Iterable[str]) -> None:
        """Look at *hosts*, whose rows must be locked already."""
        new = {"hosts": listed(set(hosts) - self._offers.keys())}
        for host, offered in self._conn.execute(_OFFERS, new):
            self._offers[host] = codec.from_json(offered, Hardware) if offered else Hardware()
            self._taken[host] = []
        for host, uuid, epoch, held in self._conn.execute(_TAKEN, new):
            self._taken[host].append(((uuid, epoch), codec.from_json(held, HardwareClaim)))

    def fit(self, host: str, ask: HardwareAsk, holder: _Holder) -> HardwareClaim | None:
        """What *ask* gets on *host*. What *holder* has there already is not in its own way."""
        others = [claim for who, claim in self._taken[host] if who != holder]
        return hardware.fit(self._offers[host], others, ask)

    def take(self, host: str, claim: HardwareClaim, holder: _Holder) -> None:
        self._taken[host].append((holder, claim))


_A = allocation.c
_H = host_capacity.c
_OFFERS = select(_H.host, _H.hardware).where(among(_H.host, bindparam("hosts")))
_TAKEN = (
    select(_A.host, _A.instance_uuid, _A.epoch, _A.hardware)
    .where(among(_A.host, bindparam("hosts")), _A.hardware != "")
    .order_by(_A.instance_uuid, _A.epoch)
)
