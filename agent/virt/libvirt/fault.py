"""The one door through which libvirt's errors leave: as Drover's."""

from __future__ import annotations

import libvirt

from drover import errors

__all__ = ["DISK_FULL", "is_code", "translate"]

#: the connection's own troubles, whatever the call was
_UNREACHABLE = frozenset(
    {
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    }
)
#: what strerror(3) says of ENOSPC; libvirt and QEMU hand it on as text, whatever their own code
DISK_FULL = "No space left on device"
_REMOTE = frozenset({libvirt.VIR_FROM_REMOTE, libvirt.VIR_FROM_RPC})


def is_code(exc: libvirt.libvirtError, *codes: int) -> bool:
    """Whether *exc* carries one of libvirt's error *codes*."""
    return exc.get_error_code() in codes


def translate(exc: libvirt.libvirtError, operation: str, *, connected: bool = True) -> errors.DriverError:
    """Drover's error for one of libvirt's.

    :param connected: whether the connection still stands; over a dead one every answer means "unreachable".
    """
    detail = exc.get_error_message() or str(exc)
    code = exc.get_error_code()
    if not connected or code in _UNREACHABLE or exc.get_error_domain() in _REMOTE:
        return errors.DriverUnavailable(detail=detail)
    if DISK_FULL in detail:
        return errors.DiskFull(what=operation, path=f"this host: {detail}")
    if code == libvirt.VIR_ERR_OPERATION_TIMEOUT:
        return errors.DriverError(operation=operation, detail=f"the domain is busy: {detail}")
    return errors.DriverError(operation=operation, detail=detail)
