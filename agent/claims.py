"""The last check before a build: does the host itself know that it has no room?

The database decides about capacity; this only catches what it cannot know, such as a guest that an operator
attested gone and that still runs here.  It therefore counts nothing but guests which this incarnation saw
permitted and has not removed: the database counts each of those too until this host reports it gone, so what
the database allowed is never refused for lack of knowledge.  Guests from before a restart count as nothing.
"""

from __future__ import annotations

from drover import errors
from drover.objects.guest import GuestSpec
from drover.objects.host import Resources
from drover.runtime import Runtime

__all__ = ["Claims", "wanted"]


def wanted(spec: GuestSpec) -> Resources:
    """What a guest takes of what is shared: not its dedicated CPUs, nor memory in huge pages."""
    cells = spec.hardware.cells
    return Resources(
        vcpus=0 if any(cell.cpus for cell in cells) else spec.vcpus,
        memory_mib=0 if any(cell.page_kib for cell in cells) else spec.memory_mib,
        disk_gib=spec.disk_gib,
    )


class Claims:
    """Guests that may run here, with what they take. Thread-safe."""

    def __init__(self, runtime: Runtime, host: str, capacity: Resources) -> None:
        self.capacity = capacity
        self._host = host
        self._lock = runtime.lock()
        self._kept: dict[str, Resources] = {}

    def check(self, instance_uuid: str, asked: Resources) -> None:
        """:raises errors.ClaimRefused: it and what is kept for others do not fit; says which resource and how much."""
        with self._lock:
            others = [kept for uuid, kept in self._kept.items() if uuid != instance_uuid]
        for name in ("vcpus", "memory_mib", "disk_gib"):
            used = sum(getattr(kept, name) for kept in others)
            ask, have = getattr(asked, name), getattr(self.capacity, name)
            if ask > 0 and used + ask > have:
                reason = f"{name}: {ask} wanted, {used} of {have} in use"
                raise errors.ClaimRefused(host=self._host, reason=reason)

    def keep(self, instance_uuid: str, resources: Resources) -> None:
        """The guest was permitted."""
        with self._lock:
            self._kept[instance_uuid] = resources

    def release(self, instance_uuid: str) -> None:
        """Nothing of the guest is left."""
        with self._lock:
            self._kept.pop(instance_uuid, None)
