"""The crash matrix in short, on fake hosts: the agent dies at every point of every verb, and of all else a sample.

CI runs a sample of this: of each verb one point of the agent, another with each, and every commit of a build.  All of it,
also on hosts with libvirt, is in ``tests/chaos/test_crash_matrix.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from drover.lab.spec import Driver
from drover.states import Action, OperationState
from tests import promise
from tests.matrix import Cell, Matrix, agent_cells, cancel_cells, matrix, other_cells, service_cells, undo_cells

#: of the cells of cancels the middle one of every third verb, of those of undos the first one of each verb
MIDDLES = [cells[len(cells) // 2] for cells in ([c for c in cancel_cells() if c.action is a] for a in Action) if cells]
UNDOS = [
    cell for number, cell in enumerate(undo_cells()) if cell.action not in {c.action for c in undo_cells()[:number]}
]
#: every commit of a build, and a few of other verbs, another one with each
BUILD = [cell for cell in service_cells() if cell.action is Action.BUILD]
COMMITS = [cell for number, cell in enumerate(service_cells()) if cell.action is not Action.BUILD and number % 19 == 0]
OTHERS = other_cells(["conductor", "guest"], every=False)[::4]
OF_VERBS = [[cell for cell in agent_cells() if cell.action is action] for action in Action]
POINTS = [cells[number % len(cells)] for number, cells in enumerate(OF_VERBS) if cells]


def sampled(cells: Sequence[Cell], brief: Sequence[Cell] = ()) -> list[Any]:
    """As parameters; only those of *brief* are run by CI."""
    return [pytest.param(cell, id=str(cell), marks=() if cell in brief else pytest.mark.long) for cell in cells]


@pytest.fixture(scope="module")
def cells() -> Iterator[Matrix]:
    with matrix(Driver.FAKE) as made, promise.watched(made.fleet):
        yield made


@pytest.mark.parametrize("cell", sampled(agent_cells(), POINTS))
def test_the_agent_dies_at_a_point(cells: Matrix, cell: Cell) -> None:
    assert cells.run(cell).state is OperationState.SUCCEEDED


@pytest.mark.parametrize("cell", sampled(BUILD + COMMITS, BUILD))
def test_a_service_dies_around_a_commit(cells: Matrix, cell: Cell) -> None:
    assert cells.run(cell).state is OperationState.SUCCEEDED


@pytest.mark.parametrize("cell", sampled(MIDDLES[::3], MIDDLES[::9]))
def test_a_verb_is_cancelled_at_a_point(cells: Matrix, cell: Cell) -> None:
    assert cells.run(cell).state is OperationState.CANCELLED


@pytest.mark.parametrize("cell", sampled(UNDOS, UNDOS[:1]))
def test_the_agent_dies_while_it_takes_back(cells: Matrix, cell: Cell) -> None:
    assert cells.run(cell).state is OperationState.CANCELLED


@pytest.mark.parametrize("cell", sampled(OTHERS, OTHERS[::4]))
def test_another_part_dies_in_the_middle(cells: Matrix, cell: Cell) -> None:
    cells.run(cell)


@pytest.mark.parametrize("part", ["postgresql", "rabbitmq"])
def test_a_server_dies_in_the_middle_of_a_build(cells: Matrix, part: str) -> None:
    [cell] = [cell for cell in other_cells([part], every=False) if cell.action is Action.BUILD]
    assert cells.run(cell).state is OperationState.SUCCEEDED


def test_nothing_is_left_in_the_end(cells: Matrix) -> None:
    cells.subject.away()
    promise.empty(cells.fleet)
