"""Many rows by one statement, on every database."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from drover import errors
from drover.db.bulk import among, insert_rows, listed
from drover.db.engine import Database
from drover.db.schema import keypair, service

ROW = {"kind": "conductor", "version": "1", "seen_at": "now"}
NAMES = ("plain", 'quo"te', "back\\slash", "comma, brace}", "ünïcode", "")


def put(database: Database, *names: str, ignore: bool = False) -> None:
    with database.write() as conn:
        insert_rows(conn, service, [{**ROW, "name": name} for name in names], ignore=ignore)


def found(database: Database, *names: str) -> set[str]:
    query = sa.select(service.c.name).where(among(service.c.name, sa.bindparam("names")), service.c.version == "1")
    with database.read() as conn:
        return set(conn.execute(query, {"names": listed(names)}).scalars())


def test_rows_are_found_by_a_list(db: Database) -> None:
    put(db, *NAMES)
    assert found(db, *NAMES) == set(NAMES)
    assert found(db, "plain", "absent", "plain") == {"plain"}
    assert found(db) == set()


def test_no_rows_are_no_statement(db: Database) -> None:
    put(db)
    assert found(db, *NAMES) == set()


def test_what_is_there_already_is_refused_or_left_out(db: Database) -> None:
    put(db, "a")
    with pytest.raises(errors.StoreConflict):
        put(db, "b", "a")
    assert found(db, "a", "b") == {"a"}, "all or none"
    put(db, "b", "a", ignore=True)
    assert found(db, "a", "b") == {"a", "b"}


def test_an_absent_column_is_null_and_refused_where_it_must_not_be(db: Database) -> None:
    with pytest.raises(errors.DroverError), db.write() as conn:
        insert_rows(conn, keypair, [{"project_id": "p", "name": "k"}])


def test_a_long_list_finds_all(db: Database) -> None:
    names = [f"n{number}" for number in range(2000)]
    put(db, *names)
    assert found(db, *names[:1500]) == set(names[:1500])


@pytest.mark.parametrize("negated", [False, True])
def test_the_list_is_a_condition_among_others(db: Database, negated: bool) -> None:
    put(db, "a", "b", "c")
    condition = among(service.c.name, sa.bindparam("names"))
    query = sa.select(service.c.name).where(sa.or_(~condition if negated else condition, service.c.name == "c"))
    with db.read() as conn:
        names = set(conn.execute(query, {"names": listed(["a"])}).scalars())
    assert names == ({"b", "c"} if negated else {"a", "c"})
