"""Figures as files: ``build/bench/NAME.json``."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["percentile", "write"]

_DIRECTORY = Path("build/bench")


def write(name: str, figures: dict[str, Any]) -> None:
    """Keep *figures* with what they were measured on, and print them."""
    whole = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": _machine(), **figures}
    _DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = _DIRECTORY / f"{name}.json"
    path.write_text(json.dumps(whole, indent=2) + "\n")
    print(f"{path}:\n{json.dumps(figures, indent=2)}", flush=True)


def percentile(values: list[float], share: float) -> float:
    """The smallest of *values* that at least *share* of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {"cpus": os.cpu_count(), "model": model, "kernel": platform.release(), "python": platform.python_version()}
