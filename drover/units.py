"""Amounts and their words. Names of values end with their unit: ``memory_mib``, ``disk_gib``, ``size_bytes``."""

from __future__ import annotations

__all__ = ["GIB", "KIB", "MIB", "bytes_to_gib_ceil", "counted", "human_bytes"]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def bytes_to_gib_ceil(size_bytes: int) -> int:
    """Whole GiB that hold *size_bytes*, rounded up."""
    return -(-size_bytes // GIB)


def counted(count: int, what: str) -> str:
    """``1 host``, ``2 hosts``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def human_bytes(size_bytes: float) -> str:
    """``1536`` -> ``1.5 KiB``; for people, never for parsing."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size_bytes) < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"
