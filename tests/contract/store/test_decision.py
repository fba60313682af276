from __future__ import annotations

import random
from dataclasses import replace

from sqlalchemy import delete, select

from drover.db import decision, schema
from drover.db.decision import Entry
from drover.db.engine import Database
from drover.objects.operation import Decision
from tests.contract.store.claim_rows import NOW

REFUSAL = Decision(
    operation_id="o1",
    attempt=1,
    funnel=(("all", 2), ("memory", 0)),
    refused=(("a", "memory", "too little"), ("b", "memory", "too little")),
    at=NOW,
)
PLACED = Decision(
    operation_id="o1",
    attempt=2,
    chosen="a",
    funnel=(("all", 2), ("memory", 1)),
    weights=(("a", {"free_memory": 0.5}, 0.5),),
    lost=("b",),
    at=NOW,
)


def entry(value: Decision) -> Entry:
    return Entry(
        operation_id=value.operation_id, attempt=value.attempt, chosen=value.chosen, document=decision.pack(value)
    )


def test_decisions_come_back_as_they_were_oldest_first(db: Database) -> None:
    with db.write() as conn:
        decision.put(conn, [entry(PLACED), entry(REFUSAL)])
    with db.read() as conn:
        assert decision.of_operation(conn, "o1") == (REFUSAL, PLACED)
        assert decision.of_operation(conn, "o2") == ()


def test_a_later_decision_of_the_same_attempt_replaces_the_earlier(db: Database) -> None:
    again = replace(REFUSAL, chosen="b", funnel=(("all", 3),))
    with db.write() as conn:
        decision.put(conn, [entry(REFUSAL)])
        decision.put(conn, [])
    with db.write() as conn:
        decision.put(conn, [entry(again)])
    with db.read() as conn:
        assert decision.of_operation(conn, "o1") == (again,)


def test_one_document_serves_equal_requests(db: Database) -> None:
    document = decision.pack(PLACED)
    with db.write() as conn:
        decision.put(
            conn, [Entry(operation_id=f"o{n}", attempt=n, chosen=f"h{n}", document=document) for n in range(1, 4)]
        )
    with db.read() as conn:
        assert decision.of_operation(conn, "o3") == (replace(PLACED, operation_id="o3", attempt=3, chosen="h3"),)


def large(value: Decision) -> Decision:
    """As of a fleet of thousands, where no two hosts need be alike."""
    return replace(value, refusals=random.Random(1).randbytes(5000), roster=7)


def test_a_large_document_is_kept_once_for_equal_placements(db: Database) -> None:
    document = decision.pack(large(PLACED))
    entries = [Entry(operation_id=f"o{n}", attempt=n, chosen=f"h{n}", document=document) for n in range(1, 4)]
    with db.write() as conn:
        decision.put(conn, entries)
        decision.put(conn, entries)  # of a repeated transaction
    with db.read() as conn:
        found = [decision.of_operation(conn, f"o{n}") for n in range(1, 4)]
        latest = decision.latest(conn, ["o2", "o3"])
        stored = sorted(len(each) for each in conn.execute(select(schema.decision.c.document)).scalars())
    assert found == [(replace(large(PLACED), operation_id=f"o{n}", attempt=n, chosen=f"h{n}"),) for n in range(1, 4)]
    assert latest == {each[0].operation_id: each[0] for each in found[1:]}
    assert stored[1] < 100
    assert stored[2] > 5000
    with db.write() as conn:  # the operation that had it is purged
        conn.execute(delete(schema.decision).where(schema.decision.c.operation_id == "o1"))
    with db.read() as conn:
        assert decision.of_operation(conn, "o2") == ()


def test_each_refusal_has_its_own_document(db: Database) -> None:
    """One of two that wait may be decided anew: the other's must stay as it was."""
    document = decision.pack(large(REFUSAL))
    entries = [Entry(operation_id=f"o{n}", attempt=1, chosen="", document=document) for n in (1, 2)]
    with db.write() as conn:
        decision.put(conn, entries)
    with db.write() as conn:
        decision.put(conn, [replace(entries[0], document=decision.pack(replace(REFUSAL, funnel=(("all", 9),))))])
    with db.read() as conn:
        assert decision.of_operation(conn, "o2") == (replace(large(REFUSAL), operation_id="o2"),)
