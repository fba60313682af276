"""Faults of libvirt, of disks and of image servers, with all services and real guests around them.

What the drivers and the image cache make of each alone is in ``tests/integration/virt`` and ``tests/functional/image``.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from drover.lab.namespace_host import FABRIC, NamespaceHosts
from drover.lab.part import Parts
from drover.lab.spec import GATEWAY, Driver
from drover.objects.catalog import Image, ImageFormat
from drover.objects.operation import Operation
from drover.runtime import program
from drover.states import Action, OperationState, VmState
from tests import guest, promise
from tests.fleet import QUICK, Fleet, fleet
from tests.integration.fleet import web
from tests.subject import RECLAIM, Subject, end_of, states_of

pytestmark = pytest.mark.long

CALL_S = 2.0
#: libvirt gets little time to answer, so that a hang is told from slowness soon; verbs have a small budget
SETTINGS = {
    **QUICK,
    "times": {**QUICK["times"], **RECLAIM, "stop_timeout_s": "2", "lifecycle_budget_s": "30"},
    "libvirt": {"call_timeout_s": str(CALL_S), "start_timeout_s": "10"},
}
HEAVY_MIB = 24  # of an image that is no hole


@pytest.fixture(scope="module")
def real() -> Iterator[Fleet]:
    with fleet(Driver.LIBVIRT, settings=SETTINGS, hosts=2) as made:
        yield made


@pytest.fixture(scope="module")
def heavy(real: Fleet) -> Path:
    """A bootable image full of noise."""
    path = guest.write_image(real.lab.layout.directory / "heavy.raw")
    with path.open("ab") as file:
        file.write(Random(1).randbytes(HEAVY_MIB * 1024 * 1024))
    assert real.drover("image", "create", "heavy", "--file", str(path)).returncode == 0
    return path


@pytest.fixture
def subject(real: Fleet) -> Iterator[Subject]:
    made = Subject(real)
    with promise.watched(real):
        yield made
        made.away()
    promise.empty(real)


# --- libvirtd ----------------------------------------------------------------------------------------------


@contextmanager
def hung(real: Fleet) -> Iterator[Callable[[], None]]:
    """Every libvirtd stands still until the block ends, or what is given is called."""
    parts = [f"{host}.libvirtd" for host in real.lab.spec().host_names()]

    def go_on() -> None:
        for part in parts:
            real.lab.kill(part, program.CONT)

    for part in parts:
        real.lab.kill(part, program.STOP)
    try:
        yield go_on
    finally:
        go_on()


@pytest.mark.parametrize("hang_s", [CALL_S / 2, CALL_S * 2.5], ids=["shortly", "beyond the deadline"])
@pytest.mark.parametrize("action", list(Action))
def test_libvirtd_hangs_during_a_verb(real: Fleet, subject: Subject, action: Action, hang_s: float) -> None:
    [state] = states_of(action, every=False)
    subject.begin_in(state)
    with hung(real):
        operation = subject.ask(action)
        real.runtime.sleep(hang_s)  # the length of the hang is the test
    ended = subject.wait(operation)
    ended_well_or_told(subject, action, state, ended)
    promise.at_rest(real)


@pytest.mark.parametrize("action", [Action.STOP, Action.REBOOT, Action.PAUSE, Action.SNAPSHOT])
def test_libvirtd_never_answers(real: Fleet, subject: Subject, action: Action) -> None:
    """The verb ends all the same, and says why; the guest runs on."""
    subject.bring_to(VmState.ACTIVE)
    [before] = promise.qemus(real)
    with hung(real):
        ended = subject.do(action)
        assert ended.state is OperationState.FAILED
        assert ended.error is not None
        assert ended.error.code in ("DriverTimeout", "DriverUnavailable", "BudgetExceeded", "OutcomeUnknown")
        assert promise.qemus(real) == [before]
    promise.at_rest(real)


def ended_well_or_told(subject: Subject, action: Action, state: VmState, ended: Operation) -> None:
    if ended.state is OperationState.SUCCEEDED:
        assert (subject.vm_state if subject.uuid else VmState.DELETED) is end_of(action, state)
        return
    assert ended.state is OperationState.FAILED
    assert ended.error is not None
    assert ended.error.code in ("DriverTimeout", "DriverUnavailable", "OutcomeUnknown"), ended.error


# --- full disks --------------------------------------------------------------------------------------------


@contextmanager
def small_disk(real: Fleet, host: str, folder: str, mib: int) -> Iterator[None]:
    """The host's directory is a disk of so many MiB meanwhile; nothing may be in it before."""
    place = str(real.lab.layout.host(host) / folder)
    mounted = real.lab.run(host, ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "tmpfs", place])
    assert mounted.returncode == 0, mounted.stderr
    try:
        yield
    finally:
        assert real.lab.run(host, ["umount", "--lazy", place]).returncode == 0


def build(real: Fleet, image: str) -> tuple[str, Operation]:
    made = real.create(1, image=image)
    [ended] = real.wait(made.operation_ids)
    return made.instance_uuids[0], ended


def test_a_full_disk_under_the_images_sends_the_build_elsewhere_or_fails_it(
    real: Fleet, subject: Subject, heavy: Path
) -> None:
    with small_disk(real, "host1", "images", 8):
        for _ in range(2):  # one of them would have gone to the first host
            subject.uuid, ended = build(real, "heavy")
            assert ended.state is OperationState.SUCCEEDED, ended.error
            assert ended.host == "host2"
            subject.away()
        with small_disk(real, "host2", "images", 8):
            subject.uuid, ended = build(real, "heavy")
            assert ended.state is OperationState.FAILED
            assert ended.error is not None
            assert ended.error.code == "DiskFull"
            assert subject.vm_state is VmState.ERROR
            subject.away()
    subject.uuid, ended = build(real, "heavy")
    assert ended.state is OperationState.SUCCEEDED, ended.error


@pytest.mark.parametrize("power", ["on", "off"])
def test_a_full_disk_ends_a_snapshot_and_not_the_guest(real: Fleet, subject: Subject, heavy: Path, power: str) -> None:
    with small_disk(real, "host1", "instances", 8), small_disk(real, "host2", "instances", 8):
        subject.uuid, built = build(real, "heavy")
        assert built.state is OperationState.SUCCEEDED, built.error
        if power == "off":
            subject.bring_to(VmState.STOPPED)
        for action in (Action.SNAPSHOT, Action.SHELVE):
            before, running = subject.vm_state, promise.qemus(real)
            ended = subject.do(action)
            assert ended.state is OperationState.FAILED
            assert ended.error is not None
            assert ended.error.code == "DiskFull"
            assert subject.vm_state is before
            assert len(promise.qemus(real)) == len(running)
        images = [image.name for image in real.api.image_list(real.context())]
        assert sorted(images) == ["boot-sector", "heavy"]
        subject.away()


# --- image servers -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """An image server that the hosts reach."""

    real: Fleet
    content: bytes
    url: str

    def image(self, manner: str, *, told: bool = True) -> str:
        """An image served in that manner; *told*: with its true size and digest."""
        name = f"{manner}-{self.real.runtime.uuid()[:8]}"
        self.real.api.image_create(
            self.real.context(),
            Image(
                id="",
                name=name,
                format=ImageFormat.RAW,
                url=f"{self.url}/{manner}/{name}",
                size_bytes=len(self.content) if told else 0,
                sha256=hashlib.sha256(self.content).hexdigest() if told else "",
            ),
        )
        return name


@pytest.fixture(scope="module")
def server(real: Fleet, heavy: Path) -> Iterator[Server]:
    spec, layout = real.lab.spec(), real.lab.layout
    port = spec.first_port + 200
    hosts = NamespaceHosts(spec, layout, Parts(layout, real.runtime), real.runtime)
    command = [sys.executable, str(Path(web.__file__)), GATEWAY, str(port), str(heavy)]
    process = subprocess.Popen(hosts.command(FABRIC, command), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Server(real, heavy.read_bytes(), f"http://{GATEWAY}:{port}")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("manner", ["plain", "slow", "cut"])
def test_a_slow_or_faltering_server_only_delays(server: Server, subject: Subject, manner: str) -> None:
    image = server.image(manner)
    subject.uuid, ended = build(server.real, image)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert ended.attempt == 1
    promise.at_rest(server.real)
    subject.away()
    server.real.api.image_delete(server.real.context(), image)


@pytest.mark.parametrize(
    ("manner", "code"),
    [
        ("other", "ImageChecksumMismatch"),
        ("short", "ImageFetchFailed"),
        ("endless", "ImageFetchFailed"),
        ("stump", "ImageFetchFailed"),
    ],
)
def test_a_lying_or_broken_server_fails_the_build_and_nothing_stays(
    server: Server, subject: Subject, manner: str, code: str
) -> None:
    image = server.image(manner)
    subject.uuid, ended = build(server.real, image)
    assert ended.state is OperationState.FAILED
    assert ended.error is not None
    assert ended.error.code == code
    assert subject.vm_state is VmState.ERROR
    subject.away()
    server.real.api.image_delete(server.real.context(), image)
    for host in server.real.lab.spec().host_names():
        images = server.real.lab.layout.host(host) / "images"
        assert all(path.stat().st_size != len(server.content) // 2 for path in images.iterdir())
        assert not list(images.glob("*.part*"))
