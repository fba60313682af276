"""When another boot of a host may take the host's place.

A machine that booted and a copy of it (its disk cloned, and with it all that tells who it is) say the same: same
host uuid, same machine id, another boot id.  What tells them apart is the one they would replace: if that lives, it
goes on syncing.  So another boot has to ask for a while in which the present one is not heard, by this conductor's own
monotonic clock.  A long pause between two questions counts as a short one: in an outage of the broker the present one is
not heard either.  A host that was judged silent has been waited for already.
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
    """Another boot asks, and the present one has said nothing since it began to."""

    boot_id: str
    asked_s: float  # last, monotonic
    waited_s: float
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
            self._wait(present, who, max(times.sync_interval_s, hosts / 100))
        with self._gate:
            self._asking.pop(who.host, None)

    def _wait(self, present: Host, who: HostIdentity, interval_s: float) -> None:
        # A lease; and after an outage the present one may be in a call that must run out before it syncs again.
        times = self._core.times
        patience_s = interval_s * (1 + times.lease_factor) + times.rpc_timeout_s
        now_s = self._core.runtime.clock.monotonic()
        heard = (present.session, present.last_sync_at)
        with self._gate:
            asking = self._asking.get(who.host)
            waited_s = 0.0
            if asking is not None and (asking.boot_id, asking.heard) == (who.boot_id, heard):
                waited_s = asking.waited_s + min(now_s - asking.asked_s, interval_s)
            self._asking[who.host] = _Asking(who.boot_id, now_s, waited_s, heard)
        if waited_s < patience_s:
            raise errors.HostStillSpeaks(host=who.host, lease_s=patience_s)


def _is_another_boot(present: Host, who: HostIdentity) -> bool:
    """Of the same machine by all it says. Another machine is refused, or adopted, by other rules."""
    same = (present.host_uuid, present.machine_id) == (who.host_uuid, who.machine_id)
    return same and "" not in (present.boot_id, who.boot_id) and present.boot_id != who.boot_id
