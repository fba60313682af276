"""The guest image of labs and tests: built from Debian packages, kept for as long as its sources stay the same."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from drover import errors
from drover.lab.layout import cache_directory

__all__ = ["MIN_MEMORY_MIB", "READY_MARKER", "build", "sources_digest"]

#: begins the line on the serial console that says that the guest is up, and who and where it is
READY_MARKER = "GUEST-READY"
#: with less the kernel hangs without a word
MIN_MEMORY_MIB = 96

_SOURCES = Path(__file__).parent / "guest"


def sources_digest() -> str:
    """Of the build script and of every file that goes into the guest."""
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.iterdir()):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.name} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def build(report: Callable[[str], None] = lambda _: None) -> Path:
    """The image (qcow2, 20 MB), built when it is not in the cache; costs nothing when it is.

    :param report: told when it has to be built.
    :raises errors.LabFailed: it cannot be built here; the words are those of the tool that failed.
    """
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    image = cache / f"guest-{sources_digest()[:16]}.qcow2"
    with (cache / "guest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists():
            report("building the guest image from Debian packages (once)")
            _build(image)
    return image


def _build(image: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="drover-guest-") as work:
        unfinished = image.with_suffix(".new")
        done = subprocess.run(
            ["bash", str(_SOURCES / "build.sh"), str(unfinished), work], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = " | ".join((done.stderr or done.stdout).strip().splitlines()[-5:])
            raise errors.LabFailed(reason=f"cannot build the guest image: {said}")
        unfinished.rename(image)


if __name__ == "__main__":
    print(build())  # noqa: T201  for scripts
