"""The whole crash matrix: every verb, every step, every process, on fake hosts and on hosts with libvirt.

pytest tests/chaos/test_crash_matrix.py -k "libvirt and rescue"        a part of it
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drover.lab.spec import Driver
from drover.states import VERBS, Evidence, OperationState
from tests import promise
from tests.matrix import Cell, Matrix, agent_cells, cancel_cells, matrix, other_cells, service_cells, undo_cells

#: what dies while the agent is at a point, by driver
VICTIMS = {
    Driver.FAKE: ["conductor", "scheduler", "guest", "link", "postgresql", "rabbitmq"],
    Driver.LIBVIRT: ["conductor", "guest", "libvirtd", "virtlogd", "relay", "postgresql", "rabbitmq"],
}


def every_cell(driver: Driver) -> list[Cell]:
    return [
        *agent_cells(every=True),
        *service_cells(),
        *cancel_cells(),
        *undo_cells(),
        *other_cells(VICTIMS[driver]),
    ]


@pytest.fixture(scope="module")
def cells(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    with matrix(request.param) as made, promise.watched(made.fleet):
        yield made


@pytest.mark.parametrize("cell", every_cell(Driver.FAKE), ids=str)
@pytest.mark.parametrize("cells", [Driver.FAKE], indirect=True)
def test_a_cell_on_fake_hosts(cells: Matrix, cell: Cell) -> None:
    ends_well(cells, cell)


@pytest.mark.parametrize("cell", every_cell(Driver.LIBVIRT), ids=str)
@pytest.mark.parametrize("cells", [Driver.LIBVIRT], indirect=True)
def test_a_cell_on_hosts_with_libvirt(cells: Matrix, cell: Cell) -> None:
    ends_well(cells, cell)


def ends_well(cells: Matrix, cell: Cell) -> None:
    ended = cells.run(cell)
    unknown = VERBS[cell.action].evidence is Evidence.STAMP and ended.state is OperationState.FAILED
    if cell.cancel:
        assert ended.state is OperationState.CANCELLED
    elif cell.victim != "guest" and not unknown:
        assert ended.state is OperationState.SUCCEEDED, ended.error
