"""The smallest guest there is: a boot sector of our own, in a raw disk of 1 MiB.

It prints :data:`UP` on COM1, then waits for the ACPI power button; when it is pressed it prints :data:`BUTTON` and
powers off.  Under emulation the first line is there a tenth of a second after the start, in 16 MiB of memory.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["BUTTON", "UP", "boot_sector", "write_image"]

UP = b"DROVER GUEST UP"
BUTTON = b"DROVER GUEST BUTTON"

_LOAD_ADDRESS = 0x7C00
#: SeaBIOS reads no smaller virtio disk
_DISK_BYTES = 1024 * 1024


def boot_sector(*, obedient: bool = True, up: bytes = UP, used_mib: int = 0) -> bytes:
    """:param obedient: false makes a guest that does not look at its power button.
    :param up: its first words.
    :param used_mib: of its memory, from 2 MiB on, filled with something: more to save than a pipe holds.
    """
    print_line = bytes.fromhex("ac 84c0 7406 ba f803 ee ebf5 c3")  # lodsb; if al == 0: ret; out 0x3f8, al; again
    halt = bytes.fromhex("fa f4 ebfc")  # cli; hlt, for ever
    # The ACPI registers of QEMU's machines, as SeaBIOS places them: 0x600 status, 0x602 enable, 0x604 control.
    wait = bytes.fromhex(
        "ba 0206 b8 0001 ef"  # power button enable
        "fb f4 fa"  # again: sti; hlt; cli (the timer wakes it 18 times a second)
        "ba 0006 ed f6c401 74f4"  # until the power button's status is set
    )
    off = bytes.fromhex("ba 0406 b8 0020 ef")  # sleep type 0 (S5), sleep enable
    start = bytes.fromhex("fa 31c0 8ed8 8ed0 bc 007c")  # cli; ds = ss = 0; sp = 0x7c00
    if used_mib:
        start += _fill(_LOAD_ADDRESS + len(start), used_mib)
    say = 6  # bytes of "mov si, text; call print_line"
    parts = [start, b"?" * say, *([wait, b"?" * say, off] if obedient else []), halt]
    routine = sum(map(len, parts))
    texts = {1: up, 3: BUTTON}
    code, data = b"", b""
    for number, part in enumerate(parts):
        if part == b"?" * say:
            address = _LOAD_ADDRESS + routine + len(print_line) + len(data)
            data += texts[number] + b"\r\n\0"
            distance = routine - (len(code) + say)
            part = b"\xbe" + address.to_bytes(2, "little") + b"\xe8" + distance.to_bytes(2, "little")
        code += part
    return (code + print_line + data).ljust(510, b"\0") + b"\x55\xaa"


def _fill(address: int, mib: int) -> bytes:
    """Code for *address* that fills memory above 1 MiB, for which "es" is given a limit of 4 GiB ("unreal mode")."""
    code = bytes.fromhex(
        "0f20c0 0c01 0f22c0 bb0800 8ec3 24fe 0f22c0"  # cr0 |= 1; es = 8; cr0 &= ~1
        "66 bf 00002000 66 b8 5aa55aa5 66 b9"  # edi = 2 MiB; eax = something; ecx =
    ) + (mib * 1024 * 1024 // 4).to_bytes(4, "little")
    code += bytes.fromhex("fc f3 66 67 ab 31c0")  # cld; rep stosd, by edi and ecx; ax = 0
    table = address + 5 + len(code) + 2  # behind lgdt and the jump over what follows
    descriptor = bytes.fromhex("0f00") + (table + 6).to_bytes(4, "little")
    flat = bytes(8) + bytes.fromhex("ffff00000092cf00")  # null; data, from 0 to 4 GiB
    skip = b"\xeb" + bytes([len(descriptor) + len(flat)])
    return bytes.fromhex("0f0116") + table.to_bytes(2, "little") + code + skip + descriptor + flat


def write_image(path: Path, *, obedient: bool = True, up: bytes = UP, used_mib: int = 0) -> Path:
    """A raw disk image with :func:`boot_sector` at its start."""
    path.write_bytes(boot_sector(obedient=obedient, up=up, used_mib=used_mib).ljust(_DISK_BYTES, b"\0"))
    return path
