"""When a host counts as registered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from drover.lab.readiness import Goal, ended, missing
from drover.objects.host import Host, Inventory, Resources

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def host(name: str, *, up: bool = True, synced_s: float | None = 0.0) -> Host:
    return Host(
        name=name,
        host_uuid="u",
        machine_id="m",
        boot_id="b",
        session=1,
        up=up,
        inventory=Inventory(vcpus=1, memory_mib=1, disk_gib=1),
        capacity=Resources(),
        used=Resources(),
        last_sync_at=None if synced_s is None else NOW + timedelta(seconds=synced_s),
    )


def goal(*fresh: str) -> Goal:
    return Goal(parts=(), since=NOW, hosts=("host1", "host2"), fresh=fresh)


def test_unknown_and_down_hosts_are_missing() -> None:
    assert missing(goal(), [host("host1")]) == ["host2"]
    assert missing(goal(), [host("host1"), host("host2", up=False)]) == ["host2"]
    assert missing(goal(), [host("host1"), host("host2"), host("host9", up=False)]) == []


def test_a_started_agent_counts_only_from_its_own_sync_on() -> None:
    stale = [host("host1", synced_s=-1), host("host2", synced_s=-1)]
    assert missing(goal(), stale) == []
    assert missing(goal("host2"), stale) == ["host2"]
    assert missing(goal("host2"), [stale[0], host("host2", synced_s=None)]) == ["host2"]
    assert missing(goal("host2"), [stale[0], host("host2", synced_s=0.5)]) == []


def test_a_server_has_ended_when_it_is_not_seen_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "rabbitmq").write_text("out of memory")
    seen = {"rabbitmq": 7, "postgresql": 8}
    ask = ended(lambda: seen, tmp_path.joinpath)
    for pid in (7, 0, 0, 7, 0, 0):  # what is in the middle of an exec shows itself again
        seen["rabbitmq"] = pid
        assert ask() == ""
    assert ask().startswith("rabbitmq ended: out of memory")
