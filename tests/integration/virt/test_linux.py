"""A real Linux guest: cloud-init data, its fixed address, no spoofing, reboot and shutdown by ACPI."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drover.lab import guest_image
from drover.objects.guest import ImageSource
from drover.runtime.threads import ThreadRuntime
from drover.states import PowerState
from tests.integration.virt.conftest import NeverCancelled, tiny_spec
from tests.integration.virt.inside import inner_driver, nat_port
from tests.machine import Machine, wait_until
from tests.needs import require

#: a guest needs 7 CPU seconds to boot, on a machine that others use too
_PATIENCE_S = 280.0

_USER_DATA = """#!/bin/sh
ping -c 1 -W 20 10.99.0.1 >/dev/null && echo "USER gateway answers"
ip addr add 10.99.0.77/24 dev eth0
ping -c 1 -W 3 -I 10.99.0.77 10.99.0.1 >/dev/null || echo "USER spoofed address gets no answer"
"""


def inside_linux(work: str, image: str) -> None:
    source = ImageSource(id="linux", format="qcow2", sha256="", size_bytes=0, virtual_size_bytes=0, url="")
    spec = tiny_spec(
        hostname="penguin",
        memory_mib=128,
        disk_gib=1,
        image=source,
        ports=(nat_port(10),),
        ssh_keys=("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9m6y2ZkzDlPq1G0Wm3y5n6yq5yZ9mYw8m3nQJb7c1d ann@desk",),
        user_data=_USER_DATA,
    )
    token = NeverCancelled(ThreadRuntime())
    with inner_driver(work) as driver:

        def console() -> str:
            return driver.console_log(spec.uuid, 1 << 20).decode(errors="replace")

        def wait_ready(times: int) -> None:
            wait_until(lambda: console().count(guest_image.READY_MARKER) >= times, f"boot {times}", _PATIENCE_S)

        driver.create_disk(spec, image, token)
        driver.create_network(spec)
        driver.create_config(spec)
        driver.define(spec, "operation")
        driver.start(spec.uuid)
        wait_ready(1)
        ready = re.search(rf"{guest_image.READY_MARKER}.*", console())
        assert ready is not None
        assert "host=penguin" in ready.group()
        assert "ip=10.99.0.10" in ready.group()
        assert "USER gateway answers" in console()
        assert "USER spoofed address gets no answer" in console()
        driver.reboot(spec.uuid, "reboot", hard=False)
        wait_ready(2)
        driver.stop(spec.uuid, 60.0, token)
        guest = driver.get_guest(spec.uuid)
        assert guest is not None
        assert guest.power_state is PowerState.SHUTDOWN
        driver.remove(spec.uuid, 1)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("no_networks")
def test_linux(machine: Machine, tmp_path: Path) -> None:
    require("nftables", "dnsmasq")
    machine.call(inside_linux, str(tmp_path), str(guest_image.build()))
