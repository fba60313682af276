"""The simulated kernel keeps the Runtime's promises, repeats a seed exactly, and lets the dead rest."""

from __future__ import annotations

from tests.simulation.kernel import Incarnation, Kernel, SimRuntime


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
