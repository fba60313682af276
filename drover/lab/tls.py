"""TLS for a lab's servers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["TlsFiles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of a server, and the authority whose clients it lets in; the server gets copies of its own."""

    ca: Path
    certificate: Path
    key: Path

    def contents(self) -> dict[str, str]:
        """By the names of the copies."""
        files = {"ca.pem": self.ca, "certificate.pem": self.certificate, "key.pem": self.key}
        return {name: path.read_text() for name, path in files.items()}
