"""``drover image``: the catalogue, and the way of a file into the depot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from drover import depot, errors
from drover.cli import progress
from drover.cli.catalog import delete_once, pairs
from drover.cli.options import Group
from drover.cli.output import Column, dash, moment
from drover.cli.page import BY_ID, named, page, paged
from drover.cli.session import Session, pass_session
from drover.objects.catalog import Image, ImageFormat, ImageStatus
from drover.objects.page import ImageFilter
from drover.units import human_bytes

__all__ = ["image"]

QCOW2_MAGIC = b"QFI\xfb"
#: seconds between questions whether the conductor's check is over; each waits for it too
CHECK_S = 0.2


def _size(size_bytes: int) -> str:
    return human_bytes(size_bytes) if size_bytes else "-"


COLUMNS: tuple[Column[Image], ...] = (
    Column("NAME", lambda it: it.name),
    Column("STATUS", lambda it: str(it.status)),
    Column("FORMAT", lambda it: str(it.format)),
    Column("SIZE", lambda it: _size(it.size_bytes), right=True),
    Column("VIRTUAL", lambda it: _size(it.virtual_size_bytes), right=True, drop=3),
    Column("SOURCE", lambda it: it.url or "depot", drop=4),
    Column("CREATED", lambda it: dash(moment(it.created_at)), drop=2),
    Column("ID", lambda it: it.id, drop=1),
)


@click.group(cls=Group)
def image() -> None:
    """Disk images that instances are made from."""


@image.command("create")
@click.argument("name")
@click.option("--file", metavar="FILE", help="Upload this file to the depot.")
@click.option("--url", default="", metavar="URL", help="Hosts fetch it there: http, https or file.")
@click.option(
    "--disk-format",
    type=click.Choice([str(kind) for kind in ImageFormat]),
    help="[default: what the file begins like; qcow2 with --url]",
)
@click.option("--sha256", default="", metavar="HEX", help="What the bytes must be.  [default: computed from the file]")
@click.option("--architecture", default="x86_64", show_default=True, metavar="NAME", help="Of the processor it is for.")
@click.option("--virt-type", default="", metavar="TYPE", help="kvm or qemu.  [default: what the host has]")
@click.option("--min-memory", type=click.IntRange(min=0), default=0, metavar="MIB", help="Least memory of a flavor.")
@click.option("--min-disk", type=click.IntRange(min=0), default=0, metavar="GIB", help="Least disk of a flavor.")
@click.option(
    "--property",
    "properties",
    multiple=True,
    metavar="KEY=VALUE",
    help="What it asks of a host: hw_…, trait:…, or any that aggregates speak of. Repeatable.",
)
@pass_session
def image_create(session: Session, /, file: str | None, url: str, **given: Any) -> None:
    """Make an image from a file or a URL."""
    if (file is None) == (not url):
        raise errors.BadInput(reason="one of --file and --url is needed")
    wanted = _described(session, given, url) if file is None else _measured(session, given, Path(file))
    made = session.create_once(
        lambda: session.conductor.image_create(session.context, wanted), lambda: _find(session, wanted.id)
    )
    if file is not None:
        made = _upload(session, made, Path(file))
    session.printer.row(made, COLUMNS)


def _described(session: Session, given: dict[str, Any], url: str, **known: Any) -> Image:
    return Image(
        id=session.runtime.uuid(),
        name=given["name"],
        url=url,
        format=ImageFormat(known.get("format") or given["disk_format"] or "qcow2"),
        sha256=known.get("sha256") or given["sha256"].lower(),
        size_bytes=known.get("size_bytes", 0),
        architecture=given["architecture"],
        virt_type=given["virt_type"],
        min_memory_mib=given["min_memory"],
        min_disk_gib=given["min_disk"],
        properties=pairs(given["properties"]),
    )


def _measured(session: Session, given: dict[str, Any], path: Path) -> Image:
    """The image of a file: size, digest and format are read from it.

    :raises errors.BadInput: it cannot be read. ImageChecksumMismatch: it is not what ``--sha256`` says.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as source:
            looks = ImageFormat.QCOW2 if source.read(4) == QCOW2_MAGIC else ImageFormat.RAW
        with progress.of_bytes("sha256", size_bytes) as tell:
            sha256 = depot.sha256_of(path, tell)
    except OSError as exc:
        raise errors.BadInput(reason=f"cannot read {path}: {exc.strerror}") from None
    if (expected := given["sha256"].lower()) and expected != sha256:
        raise errors.ImageChecksumMismatch(image=given["name"], actual=sha256, expected=expected)
    return _described(session, given, "", format=given["disk_format"] or looks, sha256=sha256, size_bytes=size_bytes)


def _upload(session: Session, made: Image, path: Path) -> Image:
    """Bytes into the depot, then the conductor's word on them."""
    try:
        with progress.of_bytes("upload", made.size_bytes) as tell:
            depot.upload(
                session.runtime,
                path,
                made.id,
                lambda: session.call(lambda: session.conductor.image_upload(session.context, made.id)),
                tell,
            )
        return _checked(session, made)
    except (errors.Unavailable, errors.WaitTimeout):
        session.warn(f"image {made.id} stays {made.status}; remove it with: drover image delete {made.id}")
        raise


def _checked(session: Session, made: Image) -> Image:
    """The conductor's word on the bytes: a large image takes several questions.

    :raises drover.errors.InvalidImage: and its kinds: refused. WaitTimeout: it is still being checked.
    """
    deadline = session.runtime.clock.monotonic() + session.wait_s
    while True:
        checked = session.call(lambda: session.conductor.image_complete(session.context, made.id))
        if checked.status != ImageStatus.QUEUED:
            return checked
        if session.runtime.clock.monotonic() >= deadline:
            raise errors.WaitTimeout(states=f"checking image {made.name}", timeout_s=f"{session.wait_s:g}")
        session.runtime.sleep(CHECK_S)


def _find(session: Session, image_id: str) -> Image | None:
    try:
        return session.conductor.image_show(session.context, image_id)
    except errors.NotFound:
        return None


@image.command("list")
@named
@click.option("--status", type=click.Choice([str(status) for status in ImageStatus]), help="In this state.")
@paged("ID")
@pass_session
def image_list(session: Session, /, status: str | None, everything: bool, **given: Any) -> None:
    """List images."""
    query = ImageFilter(status=ImageStatus(status) if status else None, **given)
    session.printer.rows(page(session, session.conductor.image_list, query, BY_ID, everything=everything), COLUMNS)


@image.command("show")
@click.argument("image")
@pass_session
def image_show(session: Session, image: str) -> None:
    """Show one image."""
    it = session.call(lambda: session.conductor.image_show(session.context, image))
    session.printer.record(
        it,
        (
            ("name", it.name),
            ("id", it.id),
            ("status", str(it.status)),
            ("format", str(it.format)),
            ("size", f"{human_bytes(it.size_bytes)} ({it.size_bytes} bytes)" if it.size_bytes else ""),
            ("virtual size", human_bytes(it.virtual_size_bytes) if it.virtual_size_bytes else ""),
            ("sha256", it.sha256),
            ("source", it.url or "depot"),
            ("architecture", it.architecture),
            ("virt type", it.virt_type),
            ("least memory", f"{it.min_memory_mib} MiB" if it.min_memory_mib else ""),
            ("least disk", f"{it.min_disk_gib} GiB" if it.min_disk_gib else ""),
            ("properties", "\n".join(f"{key}={value}" for key, value in sorted(it.properties.items()))),
            ("created", moment(it.created_at)),
        ),
    )


@image.command("delete")
@click.argument("image")
@pass_session
def image_delete(session: Session, image: str) -> None:
    """Delete an image; instances made from it stay."""
    delete_once(session, "image", image, lambda: session.conductor.image_delete(session.context, image))
