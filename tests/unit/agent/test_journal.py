from __future__ import annotations

import threading
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.journal import Journal
from agent.state_dir import AppendFile, FileStateDir, MemoryStateDir
from drover.objects.sync import Outcome, Result
from drover.runtime.threads import ThreadRuntime
from drover.states import Action
from tests.contract.virt.spec import make_order, make_spec
from tests.unit.agent.manual import manual_runtime

ORDER = make_order(Action.REBOOT, make_spec())
KEY = (ORDER.operation_id, 1)
RESULT = Result(
    operation_id=ORDER.operation_id, attempt=1, instance_uuid=ORDER.instance_uuid, epoch=1, outcome=Outcome.SUCCEEDED
)


def opened(state_dir: MemoryStateDir) -> Journal:
    journal = Journal(ThreadRuntime(), state_dir)
    journal.open()
    return journal


def test_what_is_written_is_read_by_the_next_incarnation() -> None:
    state_dir = MemoryStateDir()
    journal = opened(state_dir)
    journal.begun(ORDER)
    journal.mark(KEY, "reboot")
    journal.result(RESULT)
    state_dir.kill()
    after = opened(state_dir)
    assert after.was_begun(KEY)
    assert after.marks(KEY) == {"reboot"}
    assert after.results() == [RESULT]
    after.forget(KEY)
    state_dir.kill()
    later = opened(state_dir)
    assert not later.was_begun(KEY)
    assert later.results() == []
    assert later.marks(KEY) == set()


def test_flushed_lines_survive_the_machine() -> None:
    state_dir = MemoryStateDir()
    journal = opened(state_dir)
    journal.result(RESULT)
    journal.flush()
    journal.begun(ORDER)
    state_dir.crash()
    after = opened(state_dir)
    assert after.results() == [RESULT]
    assert not after.was_begun(KEY)


def test_no_secret_is_written() -> None:
    state_dir = MemoryStateDir()
    opened(state_dir).begun(replace(ORDER, spec=make_spec(user_data="swordfish", ssh_keys=("ssh-ed25519 AAAA",))))
    text = state_dir.read("journal") or b""
    assert ORDER.operation_id.encode() in text
    assert b"swordfish" not in text
    assert b"ssh-ed25519" not in text


@given(cut=st.integers(min_value=0, max_value=2000))
def test_a_torn_tail_costs_only_itself(cut: int) -> None:
    state_dir = MemoryStateDir()
    journal = opened(state_dir)
    journal.begun(ORDER)
    journal.result(RESULT)
    text = state_dir.read("journal") or b""
    state_dir.write("journal", text[: min(cut, len(text))])
    after = opened(state_dir)
    begun, result = text.split(b"\n")[:2]
    assert after.was_begun(KEY) == (cut > len(begun))
    assert bool(after.results()) == (cut > len(begun) + 1 + len(result))
    after.result(RESULT)  # what comes next does not touch the torn line
    assert opened(state_dir).results() == [RESULT]


def test_damaged_line_is_skipped() -> None:
    state_dir = MemoryStateDir()
    opened(state_dir).result(RESULT)
    text = state_dir.read("journal") or b""
    state_dir.write("journal", b'["result", {"no": 1}]\n[7]\n[]\nnoise\n' + text)
    assert opened(state_dir).results() == [RESULT]


def test_it_does_not_grow_for_ever() -> None:
    state_dir = MemoryStateDir()
    journal = opened(state_dir)
    for number in range(6000):
        key = (f"operation-{number}", 1)
        journal.begun(replace(ORDER, operation_id=key[0]))
        journal.result(replace(RESULT, operation_id=key[0]))
        journal.flush()
        journal.forget(key)
    journal.result(RESULT)
    assert len(state_dir.read("journal") or b"") < 1_200_000
    assert opened(state_dir).results() == [RESULT]


def test_what_never_ended_is_forgotten_after_a_day() -> None:
    runtime, clock = manual_runtime()
    state_dir = MemoryStateDir()
    journal = Journal(runtime, state_dir)
    journal.open()
    journal.begun(ORDER)
    clock.pass_by(3600)
    later = Journal(runtime, state_dir)
    later.open()
    assert later.was_begun(KEY)
    clock.pass_by(24 * 3600)
    much_later = Journal(runtime, state_dir)
    much_later.open()
    assert not much_later.was_begun(KEY)


def test_removed_instance_cannot_be_resumed() -> None:
    journal = opened(MemoryStateDir())
    journal.begun(ORDER)
    later = replace(ORDER, operation_id="later", epoch=2)
    journal.begun(later)
    journal.forget_instance(ORDER.instance_uuid, 1)
    assert not journal.was_begun(KEY)
    assert journal.was_begun(("later", 1))


def test_many_appenders_share_fsyncs() -> None:
    """While one fsync is under way, all who come wait for the next one, together."""
    entered, go_on = threading.Event(), threading.Event()

    class SlowDir(MemoryStateDir):
        syncs = 0

        def append_to(self, name: str) -> AppendFile:
            return SlowFile(super().append_to(name))

    class SlowFile:
        def __init__(self, file: AppendFile) -> None:
            self.append, self.close, self._sync = file.append, file.close, file.sync

        def sync(self) -> None:
            SlowDir.syncs += 1
            entered.set()
            assert go_on.wait(30)
            self._sync()

    journal = opened(SlowDir())

    def append(number: int) -> None:
        journal.result(replace(RESULT, attempt=number))
        appended.release()
        journal.flush()

    appended = threading.Semaphore(0)
    threads = [threading.Thread(target=append, args=(0,))]
    threads[0].start()
    assert entered.wait(30)
    threads += [threading.Thread(target=append, args=(number,)) for number in range(1, 20)]
    for thread in threads[1:]:
        thread.start()
    for _ in threads:
        assert appended.acquire(timeout=30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert SlowDir.syncs == 2


def test_files(tmp_path) -> None:  # type: ignore[no-untyped-def]
    state_dir = FileStateDir(tmp_path)
    state_dir.lock()
    journal = Journal(ThreadRuntime(), state_dir)
    journal.open()
    journal.result(RESULT)
    journal.flush()
    journal.close()
    journal.result(replace(RESULT, attempt=2))  # closed: nothing is written any more, and nothing breaks
    journal.flush()
    after = Journal(ThreadRuntime(), state_dir)
    after.open()
    assert after.results() == [RESULT]
