"""Whatever users write, it stays data: in XML, in YAML, in nft's language and in paths."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from agent.image.cache import ImageCache
from agent.image.fetcher import HttpFetcher
from agent.virt.libvirt import antispoof, config_drive
from agent.virt.libvirt.folder import Folder, Folders
from agent.virt.libvirt.xml.domain import domain_xml
from agent.virt.libvirt.xml.network import network_xml
from agent.virt.libvirt.xml.shape import Shape
from conductor.depot_store import DepotStore
from conductor.rule.image import check_image
from conductor.rule.instance import LONGEST_TEXT, MOST_METADATA, MOST_TAGS, check_metadata, check_tags
from conductor.rule.keypair import check_keypair
from conductor.rule.network import complete
from drover import errors
from drover.conf.depot import DepotSettings
from drover.objects.catalog import Image, ImageFormat, Network, NetworkKind
from drover.objects.guest import GuestSpec, ImageSource
from drover.objects.name import LONGEST_LABEL, LONGEST_NAME, check_hostname, check_name, numbered
from drover.rpc import broker, route
from drover.runtime.threads import ThreadRuntime
from tests.contract.virt.spec import some_uuid
from tests.unit.agent.virt.libvirt.spec import make_port, make_spec

_FOLDER = Folder(Path("/var/lib/drover/instances/6f6c1f0e-3c6b-4a53-9d53-0a5a4c1d2e3f/3"))
_METADATA = "{urn:drover:instance:1}"
#: what means something to one of the languages, beside any text at all
_PIECES = st.sampled_from(
    ['"', "'", "<", ">", "&", "]]>", "<!--", "&#0;", "\0", "\n", "\r\n", "\t", ": ", "- ", "#", "%", "{", "}", "{{", "!!",
     "/", "..", "../", "\\", ";", "$(id)", "`id`", "*", "\u0085", "\u2028", "\ufeff", "\ud7ff", "\ufffe", "</domain>", "a"]
)  # fmt: skip
TEXT = st.one_of(st.lists(_PIECES, max_size=12).map("".join), st.text(max_size=40))


@st.composite
def hostile_spec(draw: Any) -> GuestSpec:
    """Every field that a user may have written is anything."""
    image = make_spec().image
    return make_spec(
        name=draw(TEXT),
        hostname=draw(TEXT),
        project_id=draw(TEXT),
        user_id=draw(TEXT),
        flavor_name=draw(TEXT),
        metadata=draw(st.dictionaries(TEXT, TEXT, max_size=4)),
        ssh_keys=tuple(draw(st.lists(TEXT, max_size=3))),
        user_data=draw(TEXT),
        ports=(make_port(network_name=draw(TEXT)),),
        image=ImageSource(
            id=draw(TEXT), format=image.format, sha256="", size_bytes=1, virtual_size_bytes=1, url=draw(TEXT)
        ),
    )


# the domain


def _domain(spec: GuestSpec) -> Any:
    text = domain_xml(spec, Shape(), _FOLDER, virt_type="qemu", operation_id="op-1")
    return etree.fromstring(text.encode())


def _bare(domain: Any) -> bytes:
    """The domain without what is only there to be read by people."""
    for found in (domain.find("title"), domain.find("metadata")):
        found.getparent().remove(found)
    return etree.tostring(domain, method="c14n")


@given(spec=hostile_spec())
def test_no_text_changes_the_machine(spec: GuestSpec) -> None:
    assert _bare(_domain(spec)) == _bare(_domain(make_spec()))


@given(spec=hostile_spec())
def test_metadata_has_one_element_for_each_thing(spec: GuestSpec) -> None:
    [mark] = _domain(spec).find("metadata")
    wanted = Counter({f"{_METADATA}{tag}": 1 for tag in ("name", "flavor", "image", "project", "user")})
    wanted[f"{_METADATA}property"] = len(spec.metadata)
    assert Counter(child.tag for child in mark.iter()) == +wanted + Counter([f"{_METADATA}instance"])
    assert (mark.get("uuid"), mark.get("epoch")) == (spec.uuid, str(spec.epoch))


@given(name=TEXT)
def test_no_name_changes_a_network(name: str) -> None:
    def bare(network_name: str) -> bytes:
        network = etree.fromstring(network_xml(make_port(network_name=network_name)).encode())
        [shown] = network.iter("{urn:drover:network:1}name")
        shown.text = ""
        return etree.tostring(network, method="c14n")

    assert bare(name) == bare("private")


# cloud-init


@given(spec=hostile_spec())
@example(spec=make_spec(hostname="a\u0085b", ssh_keys=("- x\n...\n---",)))
def test_no_text_changes_the_structure_of_cloud_init(spec: GuestSpec) -> None:
    files = config_drive.files(spec)
    assert set(files) == {"meta-data", "network-config", "user-data"}
    assert yaml.safe_load(files["meta-data"]) == {
        "instance-id": spec.uuid,
        "local-hostname": spec.hostname,
        "public-keys": list(spec.ssh_keys),
    }
    assert files["network-config"] == config_drive.files(make_spec())["network-config"]
    assert files["user-data"] == spec.user_data.encode()


# nft


@given(mac=st.one_of(TEXT, st.just("52:54:00:01:00:0a")), ip=st.one_of(TEXT, st.just("10.0.0.10")))
@example(mac="52:54:00:01:00:0a } ; flush ruleset ; #", ip="10.0.0.10")
@example(mac="52:54:00:01:00:0a", ip="10.0.0.10 }\nflush ruleset")
@example(mac="52:54:00:01:00:0a\n", ip="10.0.0.10")
def test_nothing_but_addresses_reaches_the_packet_filter(mac: str, ip: str) -> None:
    empty = antispoof.allow(())
    bindings = antispoof.bindings_of([make_port(mac=mac, ip=ip)])
    for script in (antispoof.allow, antispoof.forget):
        try:
            text = script(bindings)
        except errors.BadInput:
            continue
        added = text.removeprefix(empty).splitlines()
        element = (
            r'(add|delete) element bridge drover (mac|address) \{ "dv[0-9a-f]{12}" \. [0-9A-Fa-f:]{17}( \. [0-9.]+)? \}'
        )
        assert added
        assert all(re.fullmatch(element, line) for line in added)


# paths


@pytest.fixture(scope="module")
def cache() -> Any:
    with tempfile.TemporaryDirectory() as directory:
        yield ImageCache(ThreadRuntime(), Path(directory) / "cache", HttpFetcher())


PATHS = st.one_of(
    TEXT, st.sampled_from(["..", ".", "", "/etc/passwd", "../../x", "a/../../b", some_uuid(1), some_uuid(1) + "\n"])
)


@given(name=PATHS, epoch=st.integers())
def test_files_of_a_guest_stay_in_its_folder(name: str, epoch: int) -> None:
    root = Path("/var/lib/drover/instances")
    try:
        folder = Folders(root).of(name, epoch)
    except errors.BadInput:
        return
    assert folder.path.parent.parent == root
    assert ".." not in folder.path.parts


@given(name=PATHS)
def test_a_snapshot_stays_in_the_folder_of_its_guest(name: str) -> None:
    try:
        path = _FOLDER.snapshot(name)
    except errors.BadInput:
        return
    assert path.parent == _FOLDER.path


@given(name=PATHS, image_format=st.sampled_from([f.value for f in ImageFormat]))
def test_an_image_stays_in_the_cache(cache: ImageCache, name: str, image_format: str) -> None:
    source = ImageSource(id=name, format=image_format, sha256="", size_bytes=0, virtual_size_bytes=0, url="")
    try:
        path = cache._path(source)
    except errors.InvalidImage:
        return
    assert path.parent == cache._directory


@given(name=PATHS)
def test_an_image_that_may_be_made_stays_in_the_depot(name: str) -> None:
    store = DepotStore(Path("/var/lib/drover/depot"))
    try:
        check_image(Image(id=name, name="x", format=ImageFormat.RAW), DepotSettings())
    except errors.InvalidImage:
        return
    assert not name or store.path(name).parent == Path("/var/lib/drover/depot")


# what is refused: with the kind that says so, and nothing else


@given(name=TEXT)
@example(name="a" * (LONGEST_LABEL + 1))
@example(name="a\n")
@example(name="-rf")
def test_a_host_name_is_one_label(name: str) -> None:
    try:
        assert check_hostname(name) == name
    except errors.InvalidName:
        return
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)


@given(name=st.one_of(TEXT, st.text(min_size=200, max_size=300)), count=st.integers(1, 3))
def test_names_are_bounded(name: str, count: int) -> None:
    for check in (lambda: numbered(name, count), lambda: check_name(name, "image")):
        try:
            check()
        except errors.InvalidName:
            continue
        assert 0 < len(name) <= LONGEST_NAME
        assert name.isprintable()


@given(metadata=st.dictionaries(TEXT, TEXT, max_size=4), tags=st.lists(TEXT, max_size=4))
@example(metadata={str(n): "" for n in range(MOST_METADATA + 1)}, tags=[])
@example(metadata={"k": "v" * (LONGEST_TEXT + 1)}, tags=[])
@example(metadata={}, tags=[str(n) for n in range(MOST_TAGS + 1)])
def test_metadata_and_tags_are_bounded(metadata: dict[str, str], tags: list[str]) -> None:
    try:
        check_metadata(metadata)
        check_tags(tags)
    except errors.BadInput:
        return
    assert len(metadata) <= MOST_METADATA
    assert all(0 < len(key) <= LONGEST_TEXT and len(value) <= LONGEST_TEXT for key, value in metadata.items())
    assert len(tags) <= MOST_TAGS
    assert not any(set(tag) & set(',/"\\\n\0') for tag in tags)


@given(name=TEXT, bridge=TEXT, cidr=st.one_of(TEXT, st.just("10.0.0.0/24")), dns=st.lists(TEXT, max_size=2))
@example(name="x", bridge="../../etc", cidr="10.0.0.0/24", dns=[])
@example(name="x", bridge="br0\n", cidr="10.0.0.0/24", dns=[])
def test_a_network_has_addresses_and_a_device(name: str, bridge: str, cidr: str, dns: list[str]) -> None:
    asked = Network(id=some_uuid(3), name=name, kind=NetworkKind.BRIDGE, bridge=bridge, cidr=cidr, dns=tuple(dns))
    try:
        made = complete(asked)
    except (errors.InvalidName, errors.InvalidNetwork):
        return
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", made.bridge)
    assert made.bridge not in (".", "..")
    assert all(re.fullmatch(r"[0-9.]+", address) for address in (made.first, made.last, *made.dns))


@given(name=TEXT, key=TEXT)
@example(name="k", key="ssh-ed25519 " + "A" * 100_000)
def test_a_key_is_a_key(name: str, key: str) -> None:
    with pytest.raises((errors.InvalidName, errors.InvalidKeypair)):
        check_keypair(name, key)


# the broker


@given(host=st.one_of(TEXT, st.sampled_from(["host1", "host1.example.org", "a|.*", "h1)|(.*", "h.1", "#", "*"])))
def test_the_permissions_of_a_host_name_only_its_own_queues(host: str) -> None:
    try:
        leave = broker.agent_permissions(host)
    except errors.InvalidName:
        return
    own = {f"agent.{host}", route.reply_queue(route.agent_bus(host), "0" * 32)}
    others = {
        *(f"agent.{other}" for other in ("other", f"{host}2", f"2{host}", host.replace(".", "x") + ".")),
        *(route.reply_queue(route.agent_bus(other), "0" * 32) for other in ("other", f"{host}2", f"{host}.{'0' * 32}")),
        "agent", "agent.", "conductor", "scheduler", "amq.default", "", "#", "agent.#", "agent.*", f"agent.{host}.#",
    } - own  # fmt: skip
    for pattern in (leave.configure, leave.write, leave.read, leave.bind):
        assert all(re.search(pattern, name) for name in own)
        assert not any(re.search(pattern, name) for name in others)
    assert re.search(leave.write, route.TO_OTHERS)
    assert not re.search(leave.write, route.TO_AGENTS)
    assert re.search(leave.read, route.TO_AGENTS)
    assert not re.search(leave.read, route.TO_OTHERS)
