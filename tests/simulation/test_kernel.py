"""The simulated kernel keeps the Runtime's promises, repeats a seed exactly, and lets the dead rest."""

from __future__ import annotations

import pytest

from tests.simulation.kernel import Incarnation, Kernel
from tests.simulation.runtime import SimRuntime


def _run(seed: int) -> list[str]:
    kernel = Kernel(seed)
    runtime = SimRuntime(kernel, Incarnation("p"))
    seen: list[str] = []
    lock = runtime.lock()

    def work(name: str) -> None:
        for step in range(3):
            with lock:
                runtime.sleep(runtime.random.random())
                seen.append(f"{name}{step}")

    tasks = [runtime.spawn(name, lambda name=name: work(name)) for name in "abc"]  # type: ignore[misc]
    kernel.run_until(lambda: not any(task.is_alive() for task in tasks), 100, "all done")
    kernel.close()
    assert not kernel.failures
    return seen


def test_a_seed_repeats_exactly_and_seeds_differ() -> None:
    assert _run(1) == _run(1)
    assert len({tuple(_run(seed)) for seed in range(8)}) > 1


def test_a_killed_task_is_never_resumed_and_its_finally_does_not_run_while_the_world_lasts() -> None:
    kernel = Kernel(3)
    owner = Incarnation("p")
    runtime = SimRuntime(kernel, owner)
    seen: list[str] = []

    def work() -> None:
        try:
            seen.append("began")
            runtime.sleep(10)
            seen.append("woke")
        finally:
            seen.append("finally")

    runtime.spawn("w", work)
    kernel.run_for(1)
    owner.alive = False
    kernel.run_for(100)
    assert seen == ["began"]
    kernel.close()
    assert "woke" not in seen


def test_waits_time_out_in_virtual_time() -> None:
    kernel = Kernel(5)
    runtime = SimRuntime(kernel, Incarnation("p"))
    answers: list[float] = []

    def work() -> None:
        event = runtime.event()
        answers.append(event.wait(5.0))
        answers.append(kernel.now_s)
        runtime.spawn("setter", event.set)
        answers.append(event.wait(5.0))
        pool = runtime.pool("n", 2)
        for n in range(5):
            pool.submit(lambda n=n: answers.append(n))  # type: ignore[misc]
        answers.append(pool.close(1.0))

    task = runtime.spawn("w", work)
    kernel.run_until(lambda: not task.is_alive(), 60, "done")
    kernel.close()
    assert answers[:3] == [False, 5.0, True]
    assert sorted(a for a in answers[3:] if not isinstance(a, bool)) == [0, 1, 2, 3, 4]
    assert answers[-1] is True


@pytest.mark.parametrize(("stall", "woke_at", "by_its_clock"), [(False, 30.0, 30.0), (True, 40.0, 10.0)])
def test_a_frozen_process_wakes_late_and_a_stalled_machine_does_not_know(
    stall: bool, woke_at: float, by_its_clock: float
) -> None:
    kernel = Kernel(6)
    owner = Incarnation("p")
    runtime = SimRuntime(kernel, owner)
    seen: list[tuple[float, float]] = []

    def work() -> None:
        runtime.sleep(10)
        seen.append((kernel.now_s, runtime.clock.monotonic()))

    runtime.spawn("w", work)
    kernel.run_for(0)
    kernel.freeze(owner, stall=stall)
    kernel.run_for(30)
    assert not seen
    kernel.thaw(owner)
    kernel.run_for(60)
    assert seen == [(woke_at, by_its_clock)]
    kernel.close()


def test_who_is_dead_takes_no_signal_from_the_living() -> None:
    kernel = Kernel(7)
    doomed, living = Incarnation("doomed"), Incarnation("living")
    shared = SimRuntime(kernel, living).lock()
    got: list[str] = []

    def take(name: str) -> None:
        with shared:
            got.append(name)

    kernel.spawn("d", doomed, lambda: take("doomed"))

    def hold() -> None:
        with shared:
            kernel.sleep(5)

    holder = kernel.spawn("h", living, hold)
    kernel.run_until(lambda: bool(got), 10, "somebody took it")
    kernel.spawn("d2", doomed, lambda: take("doomed"))
    kernel.run_for(1)
    doomed.alive = False
    kernel.spawn("l", living, lambda: take("living"))
    kernel.run_until(lambda: holder.done and got[-1] == "living", 20, "the living one takes it")
    kernel.close()


def test_a_wait_inside_a_transaction_is_refused() -> None:
    kernel = Kernel(8)
    runtime = SimRuntime(kernel, Incarnation("p"))

    def work() -> None:
        kernel.atomic = True
        try:
            runtime.sleep(1)
        finally:
            kernel.atomic = False

    runtime.spawn("w", work)
    kernel.run_for(5)
    assert [type(error) for _, error in kernel.failures] == [AssertionError]
    kernel.close()
