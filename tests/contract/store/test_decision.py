from __future__ import annotations

from dataclasses import replace

from drover.db import decision
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
