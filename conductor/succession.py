"""When another boot of a host may take the host's place.

A machine that booted and a copy of it (its disk cloned, and with it all that tells who it is) say the same: same
host uuid, same machine id, another boot id.  What tells them apart is the one they would replace: if that lives, it
goes on syncing.  So another boot has to ask for the length of a lease in which the present one is not heard, by this
conductor's own monotonic clock.  A host that was judged silent has been waited for already.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from conductor.core import Core
from drover import errors
from drover.db import host
from drover.objects.host import Host, HostIdentity

__all__ = ["Succession"]


@dataclass(frozen=True, slots=True)
class _Asking:
    """Another boot asks since then, and the present one has said nothing since."""

    boot_id: str
    since_s: float  # monotonic
    heard: tuple[int, datetime | None]  # the present session, and its last sync that was written


class Succession:
    """What one conductor knows of who asks. Thread-safe."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._gate = core.runtime.lock()  # protects _asking
        self._asking: dict[str, _Asking] = {}

    def check(self, who: HostIdentity) -> None:
        """Return when *who* may register, as far as this rule goes.

        :raises errors.HostStillSpeaks: not yet; the agent asks again.
        """
        with self._core.database.read() as conn:
            try:
                present = host.get(conn, who.host)
            except errors.HostNotFound:
                return
            hosts = len(host.pulses(conn)) if _is_another_boot(present, who) else 0
        if hosts and present.up:
            times = self._core.times
            self._wait(present, who, max(times.sync_interval_s, hosts / 100) * times.lease_factor)
        with self._gate:
            self._asking.pop(who.host, None)

    def _wait(self, present: Host, who: HostIdentity, lease_s: float) -> None:
        now_s = self._core.runtime.clock.monotonic()
        heard = (present.session, present.last_sync_at)
        with self._gate:
            asking = self._asking.get(who.host)
            if asking is None or (asking.boot_id, asking.heard) != (who.boot_id, heard):
                asking = self._asking[who.host] = _Asking(who.boot_id, now_s, heard)
        if now_s - asking.since_s < lease_s:
            raise errors.HostStillSpeaks(host=who.host, lease_s=lease_s)


def _is_another_boot(present: Host, who: HostIdentity) -> bool:
    """Of the same machine by all it says. Another machine is refused, or adopted, by other rules."""
    same = (present.host_uuid, present.machine_id) == (who.host_uuid, who.machine_id)
    return same and "" not in (present.boot_id, who.boot_id) and present.boot_id != who.boot_id
