"""Configuration files of a lab's processes: text from values, nothing is read or written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from drover.lab.layout import Layout
from drover.lab.spec import GATEWAY, Driver, LabSpec, address_of

__all__ = [
    "HOST_RESOURCES",
    "agent_config",
    "broker_seen_from",
    "conductor_config",
    "drover_config",
    "render",
    "scheduler_config",
]

Sections = dict[str, dict[str, str]]

#: what each host says it has; together they may claim more than the machine they share, which small guests do not mind
HOST_RESOURCES = {"total_vcpus": "8", "total_memory_mib": "8192", "total_disk_gib": "100", "reserved_memory_mib": "0"}


def render(sections: Mapping[str, Mapping[str, str]]) -> str:
    """INI text."""
    blocks = (
        "\n".join([f"[{name}]", *(f"{option} = {value}" for option, value in options.items())])
        for name, options in sections.items()
    )
    return "\n\n".join(blocks) + "\n"


def drover_config(broker_url: str) -> Sections:
    """For the command line."""
    return {"bus": {"transport_url": broker_url}}


def conductor_config(spec: LabSpec, layout: Layout, name: str, urls: tuple[str, str]) -> Sections:
    """*urls*: of the broker and of the database."""
    broker_url, database_url = urls
    port = spec.depot_port(_number(name))
    sections: Sections = {
        "bus": {"transport_url": broker_url},
        "database": {"connection": database_url},
        "conductor": {"name": name, "dead_letter_dir": str(layout.directory / "dead-letter")},
        "depot": {
            "directory": str(layout.depot),
            "listen_address": "127.0.0.1",
            "listen_port": str(port),
            "url": f"http://{GATEWAY if spec.driver is Driver.LIBVIRT else '127.0.0.1'}:{port}",
            "upload_url": f"http://127.0.0.1:{port}",
        },
    }
    return _with_settings(sections, spec)


def scheduler_config(spec: LabSpec, name: str, urls: tuple[str, str]) -> Sections:
    """*urls*: of the broker and of the database."""
    broker_url, database_url = urls
    sections: Sections = {
        "bus": {"transport_url": broker_url},
        "database": {"connection": database_url},
        "scheduler": {"name": name},
    }
    return _with_settings(sections, spec)


def broker_seen_from(spec: LabSpec, host: str, broker_url: str) -> str:
    """The broker's URL for a host's agent: through the fabric, through its own cable, or straight."""
    if spec.driver is Driver.LIBVIRT:
        seen = f"{GATEWAY}:{spec.broker_port}"
    else:
        seen = f"127.0.0.1:{spec.link_port(host) if spec.links else spec.broker_port}"
    return broker_url.replace(f"127.0.0.1:{spec.broker_port}", seen)


def agent_config(spec: LabSpec, layout: Layout, host: str, broker_url: str) -> Sections:
    """*broker_url* is that on the machine itself."""
    place = layout.host(host)
    agent = {
        "host": host,
        "driver": str(spec.driver),
        "state_dir": str(place / "agent"),
        "address": address_of(host) if spec.driver is Driver.LIBVIRT else "127.0.0.1",
        "machine_id_file": str(place / "machine-id"),
        "boot_id_file": str(place / "boot-id"),
        **HOST_RESOURCES,
    }
    sections: Sections = {"bus": {"transport_url": broker_seen_from(spec, host, broker_url)}, "agent": agent}
    if spec.driver is Driver.LIBVIRT:
        sections["libvirt"] = _libvirt(place)
    return _with_settings(sections, spec)


def _libvirt(place: Path) -> dict[str, str]:
    return {
        "uri": "qemu:///system",
        "images_dir": str(place / "images"),
        "instances_dir": str(place / "instances"),
        # Guests of a lab are thrown away, and the machine under it stays up: no reason to wait for its disk.
        "disk_cache": "unsafe",
    }


def _with_settings(sections: Sections, spec: LabSpec) -> Sections:
    for name, options in spec.settings.items():
        sections.setdefault(name, {}).update(options)
    return sections


def _number(name: str) -> int:
    """``conductor`` is the first, ``conductor2`` the second."""
    digits = name.lstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits or 1)
