"""Options of the image depot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["DepotSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DepotSettings:
    GROUP: ClassVar[str] = "depot"

    directory: str = setting(
        "/var/lib/drover/depot", "Image bytes. Several conductors need one directory that all of them see."
    )
    listen_address: str = setting("0.0.0.0", "IPv4 address of the depot's HTTP server.")  # noqa: S104  agents are elsewhere
    listen_port: int = setting(8790, "Port of the depot's HTTP server; 0: any free one.", minimum=0, maximum=65535)
    tls_cert_file: str = setting(
        "",
        "Certificate of the depot's HTTP server, with those between it and the authority; it then speaks TLS alone. "
        "Agents and clients must know the authority: they trust those of the system.",
    )
    tls_key_file: str = setting("", "Key of the certificate; empty: it is in the same file.")
    url: str = setting(
        "",
        "The depot as agents and clients reach it, without a path at the end; empty: http:// (https:// with a "
        "certificate) with this machine's host name and the port. Set it where host names do not resolve.",
    )
    upload_url: str = setting(
        "", "The depot as clients reach it to upload, where agents go another way; empty: the same as url."
    )
    max_image_gib: int = setting(256, "Most GiB of an image, of its bytes and of its virtual disk.", minimum=1)
    chunk_bytes: int = setting(
        4 * 1024 * 1024,
        "Most bytes of one upload request. Each worker holds one chunk in memory.",
        minimum=65536,
        maximum=67108864,
    )
    allow_file_urls: bool = setting(
        False,
        "Let users name images by file: URLs, which every agent reads from its own disk as its own user. "
        "Only where everybody who may create images may read those files.",
    )
    workers: int = setting(16, "Uploads and downloads served at once.", minimum=1, maximum=256)
    write_token_s: float = setting(900.0, "Seconds an upload token is good for; clients renew it.", minimum=10.0)
    read_token_s: float = setting(
        7200.0, "Seconds a download token is good for: longer than a build may wait and run.", minimum=60.0
    )
