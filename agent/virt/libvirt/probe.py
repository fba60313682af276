"""Does KVM work here? A /dev/kvm that opens proves nothing: under some nested hypervisors guests hang or crawl.

So a small guest runs: through the firmware as any guest does, into protected mode, a million instructions, and
out through QEMU's debug exit.  Where KVM works that takes a tenth of a second; where it crawls, ten.  The limit
is CPU time, which does not depend on what else the machine does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from agent.virt.libvirt.folder import write_whole
from agent.virt.libvirt.program import run
from drover import errors, log
from drover.objects import codec
from drover.runtime import Runtime

__all__ = ["Proof", "boot_sector", "cache_key", "prove"]

LOG = log.get(__name__)

_PORT, _VALUE = 0xF4, 0x15
#: isa-debug-exit: (value << 1) | 1
_PROVEN_STATUS = _VALUE << 1 | 1
_LOAD_ADDRESS = 0x7C00
#: SeaBIOS reads no smaller virtio disk
_DISK_BYTES = 1024 * 1024
_CPU_LIMIT_S, _WALL_LIMIT_S = 2, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The answer, and why. ``key`` names kernel, boot and QEMU that it holds for."""

    works: bool
    reason: str
    key: str


codec.prepare(Proof)


def boot_sector() -> bytes:
    """512 bytes: real mode, a flat 32-bit segment, a counted loop, ``out 0xf4``."""
    gdt = bytes(8) + bytes.fromhex("ffff 0000 00 9a cf 00")  # null; code 0-4 GiB
    # fmt: off
    code = bytearray.fromhex(
        "fa 31c0 8ed8"        # cli; xor ax, ax; mov ds, ax
        "0f0116 0000"         # lgdt [descriptor]
        "0f20c0 0c01 0f22c0"  # cr0 |= 1
        "ea 0000 0800"        # jmp 8:next
        "b9 40420f00 e2fe"    # next: mov ecx, 1000000; loop
        "b0 00 e6 00"         # mov al, value; out port, al
        "f4 ebfd"             # hlt, for ever
    )
    # fmt: on
    code[31], code[33] = _VALUE, _PORT
    table = _LOAD_ADDRESS + len(code)
    code[8:10] = (table + len(gdt)).to_bytes(2, "little")
    code[19:21] = (_LOAD_ADDRESS + 23).to_bytes(2, "little")
    descriptor = (len(gdt) - 1).to_bytes(2, "little") + table.to_bytes(4, "little")
    return bytes(code + gdt + descriptor).ljust(510, b"\0") + b"\x55\xaa"


def cache_key(emulator: str, qemu_version: int) -> str:
    """What a proof holds for."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot_id} {os.uname().release} {emulator} {qemu_version}"


def prove(runtime: Runtime, emulator: str, *, key: str, state_dir: Path) -> Proof:
    """The proof kept in *state_dir* for *key*, or a new one."""
    kept = _kept(state_dir / "kvm.json")
    if kept is not None and kept.key == key:
        return kept
    try:
        proof = Proof(works=True, reason=_try(runtime, emulator, state_dir), key=key)
    except errors.DriverTimeout as exc:
        return Proof(works=False, reason=str(exc), key=key)  # not kept: it may have been the load
    except errors.DriverError as exc:
        proof = Proof(works=False, reason=str(exc), key=key)
    LOG.info("kvm probed", works=proof.works, reason=proof.reason)
    write_whole(state_dir / "kvm.json", codec.to_json(proof).encode())
    return proof


def _kept(path: Path) -> Proof | None:
    try:
        return codec.from_json(path.read_bytes(), Proof, what=path.name)
    except (OSError, errors.BadRequest):
        return None


def _try(runtime: Runtime, emulator: str, state_dir: Path) -> str:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise errors.DriverError(operation="kvm", detail="no access to /dev/kvm")
    disk = state_dir / "kvm-probe.img"
    write_whole(disk, boot_sector().ljust(_DISK_BYTES, b"\0"))
    # fmt: off
    argv = ["prlimit", f"--cpu={_CPU_LIMIT_S}", "--",
            emulator, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc,accel=kvm",
            "-cpu", "host", "-m", "16", "-device", f"isa-debug-exit,iobase={_PORT:#x},iosize=1",
            "-drive", f"file={disk},format=raw,if=virtio,readonly=on"]
    # fmt: on
    run(runtime, argv, timeout_s=_WALL_LIMIT_S, success=_PROVEN_STATUS)
    return "a small guest ran"
