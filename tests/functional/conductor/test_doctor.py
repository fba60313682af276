"""The audit's looks beyond the database: services, the depot's files, the broker's queues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from conductor.depot_store import DepotStore
from conductor.workflows.doctor import DoctorWorkflow
from drover.db import image as images
from drover.db import notice
from drover.objects.audit import AuditReport
from drover.objects.catalog import Image
from drover.rpc.bus import Address, QueueState
from drover.rpc.embedded import EmbeddedBus
from tests.functional.conductor.conftest import CTX, Fleet

IMAGE, STRAY = "5b0e1c1d-0000-4000-8000-000000000001", "5b0e1c1d-0000-4000-8000-000000000002"
UNKNOWN = "5b0e1c1d-0000-4000-8000-000000000003"


class _Telling(EmbeddedBus):
    """A bus whose broker says that nobody reads."""

    def inspect(self, addresses: Sequence[Address]) -> dict[Address, QueueState]:
        return dict.fromkeys(addresses, QueueState(messages=7, readers=0))


@pytest.fixture
def depot(tmp_path: Path) -> DepotStore:
    return DepotStore(tmp_path)


@pytest.fixture
def doctor(fleet: Fleet, depot: DepotStore) -> DoctorWorkflow:
    return DoctorWorkflow(fleet.conductor._core(fleet.conductor._deployment()), depot)


def codes(report: AuditReport) -> dict[str, str]:
    return {it.code: it.subject for it in report.findings}


def test_bytes_that_are_missing_and_bytes_of_nobody(
    fleet: Fleet, doctor: DoctorWorkflow, depot: DepotStore, tmp_path: Path
) -> None:
    fleet.api.image_create(CTX, Image(id=IMAGE, name="debian"))
    with fleet.database.write() as conn:
        images.activate(conn, IMAGE, size_bytes=5, virtual_size_bytes=5, sha256="a" * 64)
    (tmp_path / "lost+found").mkdir()
    (tmp_path / STRAY).write_bytes(b"x")
    (tmp_path / UNKNOWN).write_bytes(b"xyz")
    fleet.api.image_create(CTX, Image(id=STRAY, name="gone"))
    with fleet.database.write() as conn:
        images.mark_deleted(conn, STRAY, fleet.runtime.clock.now())
    report = doctor.audit(CTX, ())
    assert codes(report)["ImageBytesMissing"] == "image debian"
    assert codes(report)["DepotStray"] == f"depot file {STRAY}"
    assert codes(report)["DepotUnknown"] == f"depot file {UNKNOWN}"
    (tmp_path / UNKNOWN).unlink()

    (tmp_path / IMAGE).write_bytes(b"12345")
    healed = doctor.audit(CTX, (("DepotStray", f"depot file {STRAY}"),))
    assert [it.done for it in healed.healed] == [True]
    assert codes(healed).keys() == {"NoService"}
    assert depot.image_ids() == {IMAGE, "lost+found"}


def test_a_depot_that_cannot_be_read_is_told_and_stops_nothing(fleet: Fleet, doctor: DoctorWorkflow) -> None:
    doctor._depot = DepotStore(Path("/nowhere/at/all"))
    report = doctor.audit(CTX, ())
    assert "NoService" in codes(report)
    assert any("/nowhere/at/all" in words for words in report.partial)


def test_a_scheduler_that_shows_itself_is_no_finding(fleet: Fleet, doctor: DoctorWorkflow) -> None:
    assert codes(doctor.audit(CTX, ()))["NoService"] == "service scheduler"
    with fleet.database.write() as conn:
        notice.beat(conn, "scheduler", "s1", "1", fleet.runtime.clock.now())
    assert codes(doctor.audit(CTX, ())) == {}


def test_a_queue_that_nobody_reads_though_its_host_syncs(fleet: Fleet) -> None:
    fleet.agent()
    fleet.conductor._bus = _Telling(fleet.runtime)
    doctor = DoctorWorkflow(fleet.conductor._core(fleet.conductor._deployment()), None)
    [found] = [it for it in doctor.audit(CTX, ()).findings if it.code == "QueueUnread"]
    assert found.subject == "queue agent.h1"
    assert found.what == "7 messages, and nobody reads it, though host h1 syncs"
