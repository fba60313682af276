"""What of a host's hardware its agent offers to give out in pieces: the CPUs and PCI devices that the site named."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from drover import errors
from drover.conf.agent import AgentSettings
from drover.cpu_set import cpu_set
from drover.objects.hardware import Cell, Hardware, PciDevice

__all__ = ["GivenOut"]

_DEVICE = re.compile(r"[0-9a-f]{4}:([0-9a-f]{4}|\*)|[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


@dataclass(frozen=True, slots=True)
class GivenOut:
    """The site's word."""

    cpus: frozenset[int] = frozenset()  # for dedicated use: shared guests stay off them
    devices: frozenset[str] = frozenset()  # "vendor:product", "vendor:*", or PCI addresses
    numa: bool = False  # cells are offered, also where nothing in them is given out one by one

    @classmethod
    def of(cls, settings: AgentSettings) -> GivenOut:
        """:raises errors.InvalidConfig: a setting is not what it should be."""
        devices = frozenset(text.lower() for text in settings.pci_devices)
        for text in sorted(devices):
            if not _DEVICE.fullmatch(text):
                reason = f"[agent] pci_devices: {text!r} is neither VENDOR:PRODUCT nor an address like 0000:3b:00.1"
                raise errors.InvalidConfig(reason=reason)
        try:
            return cls(cpu_set(settings.cpu_dedicated_set), devices, settings.numa)
        except ValueError as exc:
            raise errors.InvalidConfig(reason=f"[agent] cpu_dedicated_set: {exc}") from None

    def of_found(self, found: Hardware) -> Hardware:
        """The part of *found* that is offered.

        A host that offers nothing costs schedulers nothing; so cells in which nothing is given out one by one, neither
        CPUs nor huge pages, are offered only where the site says so.
        """
        cells = tuple(self._cell(cell) for cell in found.cells)
        return Hardware(
            cells=cells if self.numa or any(cell.cpus or cell.pages for cell in cells) else (),
            devices=tuple(device for device in found.devices if self._offers(device)),
        )

    def _cell(self, cell: Cell) -> Cell:
        cores = (tuple(cpu for cpu in core if cpu in self.cpus) for core in cell.cores)
        return replace(
            cell,
            cpus=tuple(cpu for cpu in cell.cpus if cpu in self.cpus),
            cores=tuple(core for core in cores if core),
        )

    def _offers(self, device: PciDevice) -> bool:
        kinds = (f"{device.vendor_id}:{device.product_id}", f"{device.vendor_id}:*", device.address)
        return not self.devices.isdisjoint(kinds)
