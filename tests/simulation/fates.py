"""Each kind of fault: what it does to the world, and how that ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.simulation.admin import adopt, settle_restored
from tests.simulation.machine import FOREIGN, Machine
from tests.simulation.plan import Fault, Kind
from tests.simulation.world import World

__all__ = ["strike"]


def strike(world: World, fault: Fault) -> None:
    """Let *fault* happen at its time, and end at its own."""

    def fate() -> None:
        world.outside.sleep(fault.at_s - world.kernel.now_s)
        world.kernel.note(f"fault {fault}")
        _FATES[fault.kind](world, fault)

    world.spawn(fate)


def _kill(world: World, fault: Fault) -> None:
    world.fall(fault.target, fault.for_s)


def _stop(world: World, fault: Fault) -> None:
    world.stop(fault.target)
    world.fall(fault.target, fault.for_s)


def _freeze(world: World, fault: Fault) -> None:
    process = world.incarnation(fault.target)
    if process is not None:
        world.kernel.freeze(process, stall=fault.kind is Kind.STALL)
        world.outside.sleep(fault.for_s)
        world.kernel.thaw(process)


def _cut(world: World, fault: Fault) -> None:
    world.weather.cut[fault.target] += 1
    world.outside.sleep(fault.for_s)
    world.weather.cut[fault.target] -= 1


def _broker(world: World, fault: Fault) -> None:
    world.weather.broker_down += 1
    world.outside.sleep(fault.for_s)
    world.weather.broker_down -= 1


def _database(world: World, fault: Fault) -> None:
    world.weather.database_down[fault.target] += 1
    world.outside.sleep(fault.for_s)
    world.weather.database_down[fault.target] -= 1


def _hypervisor(world: World, fault: Fault) -> None:
    world.hypervisor(fault.target, down=True)
    world.outside.sleep(fault.for_s)
    world.hypervisor(fault.target, down=False)


def _crash(world: World, fault: Fault) -> None:
    machine = world.machines[fault.target]
    world.bar(fault.target)
    _power_off(world, machine)
    machine.crash(world.outside.random)
    world.outside.sleep(fault.for_s)
    world.unbar(fault.target)


def _power_off(world: World, machine: Machine) -> None:
    for guest in machine.guests.list():
        world.watch.off(machine, guest.uuid)


def _guest(world: World, fault: Fault) -> None:
    machine = world.machines[fault.target]
    running = [g.uuid for g in machine.guests.list() if g.active and not g.uuid.startswith(FOREIGN)]
    for uuid in running[:1]:
        world.watch.off(machine, uuid)
        machine.guests.fail(uuid)


def _skew(world: World, fault: Fault) -> None:
    world.clocks(fault.target).skew_s += fault.amount


def _wipe(world: World, fault: Fault) -> None:
    machine = world.machines[fault.target]
    world.bar(fault.target)
    machine.state_dir = type(machine.state_dir)()
    world.unbar(fault.target)
    world.outside.sleep(fault.for_s)
    adopt(world, machine.host)


def _clone(world: World, fault: Fault) -> None:
    original = world.machines[fault.target]
    copy = original.cloned() if fault.kind is Kind.CLONE else original.twin()
    if copy.name in world.machines:
        return
    if fault.kind is Kind.TWIN:
        world.watch.twinned(copy.host)
    world.add(copy)
    world.outside.sleep(fault.for_s)
    world.remove(copy.name)


def _restore(world: World, fault: Fault) -> None:
    copy = world.store.copy()
    world.outside.sleep(fault.for_s)
    for name in world.masters:
        world.bar(name)
    world.watch.restoring()
    world.store.put(copy)
    if fault.kind is Kind.UNSETTLED:
        _notice(world)
    settle_restored(world)
    for name in world.masters:
        world.unbar(name)


def _notice(world: World) -> None:
    """Nobody knows that it is an old copy, but for the agents."""
    for name in world.masters:
        world.unbar(name)
    while not world.store.rows("SELECT 1 FROM alarm WHERE kind = 'OldDatabase'"):
        world.outside.sleep(1.0)
    for name in world.masters:
        world.bar(name)


_FATES: Mapping[Kind, Callable[[World, Fault], None]] = {
    Kind.KILL: _kill,
    Kind.STOP: _stop,
    Kind.FREEZE: _freeze,
    Kind.STALL: _freeze,
    Kind.CUT: _cut,
    Kind.BROKER: _broker,
    Kind.DATABASE: _database,
    Kind.HYPERVISOR: _hypervisor,
    Kind.CRASH: _crash,
    Kind.GUEST: _guest,
    Kind.SKEW: _skew,
    Kind.WIPE: _wipe,
    Kind.CLONE: _clone,
    Kind.TWIN: _clone,
    Kind.RESTORE: _restore,
    Kind.UNSETTLED: _restore,
}
