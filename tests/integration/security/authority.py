"""An authority of the test's own: certificates for servers on loopback and for clients, made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from drover.lab.tls import TlsFiles

__all__ = ["Authority"]

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_LOOPBACK = "subjectAltName=DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True, slots=True)
class Authority:
    """Everything lies in one directory."""

    directory: Path

    @classmethod
    def made(cls, directory: Path) -> Authority:
        directory.mkdir()
        authority = cls(directory)
        subject = ("-subj", f"/CN=authority {directory.name}", "-days", "2")
        authority._openssl("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", *subject)
        return authority

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def certified(self, name: str) -> TlsFiles:
        """A key and its certificate, of which client or server may use either."""
        self._openssl("req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (self.directory / "extensions").write_text(_LOOPBACK)
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
        key = self.directory / f"{name}.key"
        key.chmod(0o600)
        return TlsFiles(ca=self.ca, certificate=self.directory / f"{name}.pem", key=key)

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self.directory, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
