"""The libvirt driver. Nothing outside this package imports libvirt."""

from __future__ import annotations

from pathlib import Path

from agent.virt.driver import Backend
from drover import errors
from drover.conf import Configuration
from drover.runtime import Runtime

__all__ = ["create"]


def create(runtime: Runtime, conf: Configuration, state_dir: str, host: str) -> Backend:  # noqa: ARG001
    """The driver's factory (:mod:`agent.virt.registry`).

    :raises errors.InvalidConfig: libvirt-python is not installed, or the hardware to give out is ill named.
    :raises errors.DriverError: a directory cannot be made.
    """
    # Imported late: whoever only looks at the package, or uses another driver, needs no libvirt.
    from agent.hardware import GivenOut
    from agent.image.cache import ImageCache
    from agent.image.fetcher import HttpFetcher
    from drover.conf.agent import AgentSettings
    from drover.conf.libvirt import LibvirtSettings

    try:
        from agent.virt.libvirt.driver import LibvirtDriver
    except ImportError as exc:
        raise errors.InvalidConfig(reason=f"virt driver libvirt: {exc}; install libvirt-python") from exc

    settings = conf.get(LibvirtSettings)
    driver = LibvirtDriver(runtime, settings, Path(state_dir), GivenOut.of(conf.get(AgentSettings)))
    images = ImageCache(runtime, Path(settings.images_dir), HttpFetcher())
    driver.open()
    return Backend(driver=driver, images=images)
