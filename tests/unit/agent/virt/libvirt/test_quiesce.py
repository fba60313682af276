"""Freezing and thawing, with a guest agent that obeys, refuses or sleeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import libvirt
import pytest

from agent.virt.libvirt.quiesce import answers, frozen, thaw


class Domain:
    """What of libvirt's domain is asked; ``refuses`` names methods and how often each fails."""

    def __init__(self, *, connected: bool = True, state: int = libvirt.VIR_DOMAIN_RUNNING, **refuses: int) -> None:
        self.connected = connected
        self.refuses = refuses
        self.calls: list[str] = []
        self._state = state

    def name(self) -> str:
        return "drover-1"

    def state(self) -> tuple[int, int]:
        return self._state, 0

    def XMLDesc(self, flags: int) -> str:
        target = (
            f'<target type="virtio" name="org.qemu.guest_agent.0" state="{"" if self.connected else "dis"}connected"/>'
        )
        return f'<domain><devices><channel type="unix">{target}</channel></devices></domain>'

    def agentSetResponseTimeout(self, seconds: int) -> None:
        assert 0 < seconds <= 10

    def __getattr__(self, name: str) -> Any:
        def call() -> int:
            self.calls.append(name)
            if self.refuses.get(name, 0) > 0:
                self.refuses[name] -= 1
                raise libvirt.libvirtError("no answer")
            return 1

        return call


def test_a_guest_is_frozen_inside_and_thawed_afterwards(tmp_path: Path) -> None:
    domain, marker = Domain(), tmp_path / "frozen"
    with frozen(domain, marker) as quiesced:
        assert quiesced
        assert domain.calls == ["fsFreeze"]
        assert marker.exists()  # who is killed here leaves it to the next
    assert domain.calls == ["fsFreeze", "fsThaw"]
    assert not marker.exists()


def test_a_guest_is_thawed_when_the_work_fails(tmp_path: Path) -> None:
    domain, marker = Domain(), tmp_path / "frozen"
    with pytest.raises(ZeroDivisionError), frozen(domain, marker):
        raise ZeroDivisionError
    assert domain.calls[-1] == "fsThaw"
    assert not marker.exists()


def test_a_guest_that_may_have_frozen_after_all_is_thawed(tmp_path: Path) -> None:
    domain, marker = Domain(fsFreeze=1), tmp_path / "frozen"
    with frozen(domain, marker) as quiesced:
        assert not quiesced
    assert domain.calls == ["fsFreeze", "fsThaw"]
    assert not marker.exists()


@pytest.mark.parametrize(
    "domain", [Domain(connected=False), Domain(state=libvirt.VIR_DOMAIN_PAUSED)], ids=["no agent", "paused"]
)
def test_who_cannot_answer_is_not_asked(domain: Domain, tmp_path: Path) -> None:
    with frozen(domain, tmp_path / "frozen") as quiesced:
        assert not quiesced
    assert domain.calls == []
    assert not answers(domain)


def test_a_freeze_that_outlived_its_maker_is_thawed_by_the_next(tmp_path: Path) -> None:
    domain, marker = Domain(), tmp_path / "frozen"
    thaw(domain, marker)
    assert domain.calls == []  # whatever froze it, it was not us
    marker.touch()
    thaw(domain, marker)
    assert domain.calls == ["fsThaw"]
    assert not marker.exists()


def test_a_guest_that_does_not_thaw_is_asked_again_next_time(tmp_path: Path) -> None:
    domain, marker = Domain(fsThaw=4), tmp_path / "frozen"
    marker.touch()
    thaw(domain, marker)
    assert domain.calls == ["fsThaw"] * 3
    assert marker.exists()
    thaw(domain, marker)
    assert domain.calls == ["fsThaw"] * 5
    assert not marker.exists()


def test_answers() -> None:
    assert answers(Domain())
    assert not answers(Domain(getTime=1))
