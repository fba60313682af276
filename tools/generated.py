"""Generated files: written when they differ, or only told about with --check, so that none goes stale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Page", "settle"]


@dataclass(frozen=True, slots=True)
class Page:
    path: Path
    text: str


def settle(pages: Sequence[Page], *, check: bool) -> int:
    """Bring the files to their texts; returns an exit status: 1 when *check* found one that differs."""
    stale = [page for page in pages if not page.path.is_file() or page.path.read_text() != page.text]
    for page in stale:
        if check:
            print(f"{page.path} is stale: run tools/genconfig.py and tools/gendocs.py")
        else:
            page.path.parent.mkdir(parents=True, exist_ok=True)
            page.path.write_text(page.text)
            print(f"wrote {page.path}")
    return 1 if check and stale else 0
