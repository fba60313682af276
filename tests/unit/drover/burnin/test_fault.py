"""The plan of faults: every kind comes, the same by the same seed, and never on what a fault holds already."""

from __future__ import annotations

import random

from drover.burnin.fault import Deck, Kind, kinds_of, targets
from drover.lab.spec import Driver

HOSTS = ("host1", "host2")
PARTS = (
    *("rabbitmq", "postgresql", "conductor", "conductor2", "scheduler", "relay", "fabric"),
    *(f"{host}{part}" for host in HOSTS for part in ("", ".agent", ".libvirtd", ".virtlogd")),
)


def test_a_kind_of_lab_has_its_kinds_of_faults() -> None:
    assert Kind.KILL_LINK in kinds_of(Driver.FAKE)
    assert not {Kind.KILL_LIBVIRTD, Kind.FREEZE_LIBVIRTD, Kind.KILL_RELAY} & set(kinds_of(Driver.FAKE))
    assert set(kinds_of(Driver.LIBVIRT)) == set(Kind) - {Kind.KILL_LINK}


def test_targets_are_the_parts_of_the_kind() -> None:
    assert targets(Kind.KILL_CONDUCTOR, PARTS, HOSTS, ()) == ["conductor", "conductor2"]
    assert targets(Kind.FREEZE_AGENT, PARTS, HOSTS, ()) == ["host1.agent", "host2.agent"]
    assert targets(Kind.KILL_RELAY, PARTS, HOSTS, ()) == ["relay"]
    assert targets(Kind.CRASH_HOST, PARTS, HOSTS, ()) == ["host1", "host2"]


def test_what_is_held_is_left_alone() -> None:
    assert targets(Kind.KILL_CONDUCTOR, PARTS, HOSTS, {"conductor"}) == ["conductor2"]
    assert targets(Kind.KILL_AGENT, PARTS, HOSTS, {"host1"}) == ["host2.agent"]
    assert targets(Kind.CUT_HOST, PARTS, HOSTS, {"host2.libvirtd"}) == ["host1"]


def test_every_kind_comes_before_one_comes_again() -> None:
    deck = Deck(kinds_of(Driver.LIBVIRT), random.Random(3))
    kinds = [fault.kind for _ in kinds_of(Driver.LIBVIRT) if (fault := deck.deal(lambda _: ["x"]))]
    assert sorted(kinds) == sorted(kinds_of(Driver.LIBVIRT))


def test_a_kind_without_a_target_waits() -> None:
    deck = Deck((Kind.KILL_GUEST, Kind.KILL_AGENT), random.Random(1))
    for _ in range(3):
        fault = deck.deal(lambda kind: [] if kind is Kind.KILL_GUEST else ["host1.agent"])
        assert fault is not None
        assert fault.kind is Kind.KILL_AGENT
    assert deck.deal(lambda _: []) is None


def test_the_same_seed_deals_the_same() -> None:
    decks = [Deck(kinds_of(Driver.FAKE), random.Random(5)) for _ in range(2)]
    dealt = [[deck.deal(lambda _: ["a", "b", "c"]) for _ in range(30)] for deck in decks]
    assert dealt[0] == dealt[1]
