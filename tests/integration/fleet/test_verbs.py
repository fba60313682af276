"""Every verb of an instance's life through real processes, on fake hosts and on hosts with libvirt.

The cases are the states table's: on fake hosts each verb from each state that it is legal in, on real ones from one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drover import errors
from drover.lab.spec import Driver
from drover.states import Action, OperationState, PowerState, RestartPolicy, VmState
from tests import guest, promise
from tests.fleet import IMAGE, QUICK, Fleet, fleet
from tests.moment import kill_guest
from tests.promise import Guest
from tests.subject import RECLAIM, Subject, end_of, states_of

SETTINGS = {**QUICK, "times": {**QUICK["times"], **RECLAIM, "stop_timeout_s": "3"}}
OTHER = "other"  # an image that says something else
OTHER_WORDS = b"ANOTHER GUEST"


#: what the driver's contract suite does not show: bytes that go through the depot, memory that is kept, two systems
ON_REAL_HOSTS = {Action.BUILD, Action.REBUILD, Action.SUSPEND, Action.RESCUE, Action.SNAPSHOT, Action.SHELVE}


def cases(driver: Driver) -> Iterator[object]:
    """All of them in the long run; in the ordinary one each verb from one state, on real hosts only some verbs."""
    for action in Action:
        for number, state in enumerate(states_of(action, every=driver is Driver.FAKE)):
            ordinary = number == 0 and (driver is Driver.FAKE or action in ON_REAL_HOSTS)
            marks = () if ordinary else pytest.mark.long
            yield pytest.param(action, state, id=f"{action}-{state}", marks=marks)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    with fleet(request.param, settings=SETTINGS, hosts=2) as made:
        image = guest.write_image(made.lab.layout.directory / "other.raw", up=OTHER_WORDS)
        assert made.drover("image", "create", OTHER, "--file", str(image)).returncode == 0
        yield made


@pytest.fixture(scope="module")
def subject(lab: Fleet) -> Subject:
    return Subject(lab)


@pytest.fixture(autouse=True)
def watch(lab: Fleet) -> Iterator[None]:
    with promise.watched(lab):
        yield


@pytest.mark.parametrize(("action", "state"), [*cases(Driver.FAKE)])
@pytest.mark.parametrize("lab", [Driver.FAKE], indirect=True)
def test_a_verb_does_what_its_row_says(subject: Subject, action: Action, state: VmState) -> None:
    does_what_its_row_says(subject, action, state)


@pytest.mark.parametrize(("action", "state"), [*cases(Driver.LIBVIRT)])
@pytest.mark.parametrize("lab", [Driver.LIBVIRT], indirect=True)
def test_on_real_hosts_too(subject: Subject, action: Action, state: VmState) -> None:
    does_what_its_row_says(subject, action, state)


def does_what_its_row_says(subject: Subject, action: Action, state: VmState) -> None:
    subject.begin_in(state)
    before = subject.show() if subject.uuid else None
    subject.must(action)
    found = promise.at_rest(subject.fleet)
    if subject.uuid == "":
        assert found == []
        return
    after = subject.show()
    assert after.vm_state is end_of(action, state)
    assert after.task_state == ""
    assert after.fault is None
    if before is not None:
        assert (after.name, after.ports, after.flavor) == (before.name, before.ports, before.flavor)


each_driver = pytest.mark.parametrize("lab", list(Driver), indirect=True)


def here(subject: Subject) -> Guest:
    """Its guest, once all adds up."""
    [found] = promise.at_rest(subject.fleet)
    assert found.uuid == subject.uuid
    return found


def console(fleet: Fleet, found: Guest) -> bytes:
    """What a real guest has said since it was made."""
    path = fleet.lab.layout.host(found.host) / "instances" / found.uuid / str(found.epoch) / "console.log"
    return path.read_bytes()


def says(fleet: Fleet, found: Guest, words: bytes, times: int = 1) -> None:
    """Wait until a real guest has said *words* so often."""
    if fleet.lab.spec().driver is Driver.LIBVIRT:
        fleet.until(lambda: console(fleet, found).count(words) >= times, f"{words!r} on {found.host}")


def image_of(fleet: Fleet, found: Guest) -> str:
    """What the root disk of a fake guest was made from: the end of a path, the image's id."""
    [record] = [record for record in promise.fake_records(fleet) if record["uuid"] == found.uuid]
    return str(record["disk_image"].rpartition("/")[2])


@each_driver
def test_a_soft_reboot_boots_again(subject: Subject) -> None:
    subject.bring_to(VmState.ACTIVE)
    before = here(subject)
    says(subject.fleet, before, guest.UP)
    subject.must(Action.REBOOT, type="soft")
    says(subject.fleet, here(subject), guest.UP, times=2)
    if subject.fleet.lab.spec().driver is Driver.FAKE:
        assert here(subject).life == before.life + 1


@each_driver
def test_a_rebuilt_instance_is_another_system_with_the_same_identity(subject: Subject) -> None:
    subject.bring_to(VmState.ACTIVE)
    before = subject.show()
    subject.must(Action.REBUILD, image=OTHER)
    after, found = subject.show(), here(subject)
    assert (after.uuid, after.name, after.ports, after.host) == (before.uuid, before.name, before.ports, before.host)
    assert after.image_name == OTHER
    says(subject.fleet, found, OTHER_WORDS)
    if subject.fleet.lab.spec().driver is Driver.FAKE:
        assert image_of(subject.fleet, found) == after.image_id


@each_driver
def test_what_was_shelved_comes_back_as_it_was(subject: Subject) -> None:
    subject.bring_to(VmState.ACTIVE)
    subject.must(Action.REBUILD, image=OTHER)
    ports = subject.show().ports
    subject.must(Action.SHELVE)
    assert promise.at_rest(subject.fleet) == []
    assert subject.show().ports == ports
    subject.must(Action.UNSHELVE)
    says(subject.fleet, here(subject), OTHER_WORDS)
    assert subject.show().ports == ports
    images = {image.name for image in subject.fleet.api.image_list(subject.fleet.context())}
    assert images == {IMAGE, OTHER}


@each_driver
def test_an_instance_is_made_from_a_snapshot(subject: Subject) -> None:
    subject.bring_to(VmState.ACTIVE)
    subject.must(Action.REBUILD, image=OTHER)
    taken = subject.fleet.act(subject.uuid, Action.SNAPSHOT, name="copy")
    assert [op.state for op in subject.fleet.wait([taken.id])] == [OperationState.SUCCEEDED]
    subject.away()
    made = subject.fleet.create(1, image="copy")
    assert [op.state for op in subject.fleet.wait(made.operation_ids)] == [OperationState.SUCCEEDED]
    [found] = promise.at_rest(subject.fleet)
    says(subject.fleet, found, OTHER_WORDS)
    [subject.uuid] = made.instance_uuids
    subject.away()
    subject.fleet.api.image_delete(subject.fleet.context(), "copy")


@each_driver
def test_a_snapshot_needs_a_name_and_says_so(subject: Subject) -> None:
    subject.bring_to(VmState.ACTIVE)
    with pytest.raises(errors.BadInput):
        subject.fleet.api.instance_action(subject.fleet.context(), subject.uuid, Action.SNAPSHOT, {})


@each_driver
@pytest.mark.parametrize("policy", list(RestartPolicy))
def test_a_guest_that_is_killed_is_handled_by_its_policy(lab: Fleet, subject: Subject, policy: RestartPolicy) -> None:
    subject.away()
    mine = Subject(lab, restart=policy)
    mine.must(Action.BUILD)
    before = here(mine)
    kill_guest(lab, before.host, mine.uuid)
    if policy is RestartPolicy.NEVER:
        lab.until(lambda: mine.vm_state is VmState.STOPPED, "the instance to be stopped")
        assert here(mine).power == "off"
    else:
        lab.until(lambda: mine.show().restarts == 1, "the restart")
        after = here(mine)
        assert after.power == "running"
        assert after.life != before.life
        assert mine.vm_state is VmState.ACTIVE
        assert mine.show().power_state is PowerState.RUNNING
    mine.away()


@each_driver
def test_nothing_is_left_in_the_end(subject: Subject) -> None:
    subject.away()
    promise.empty(subject.fleet)
