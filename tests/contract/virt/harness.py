"""What the suite needs of a hypervisor beside its driver."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from agent.virt.driver import Driver
from drover import errors
from drover.objects.guest import GuestSpec
from tests.contract.virt.spec import DEPLOYMENT

__all__ = ["Cancelled", "CancelledMeanwhile", "Died", "Harness", "Mortal", "NeverCancelled"]

#: seconds, so that a driver that looks again and again does not spin
_LOOK_S = 0.05


class NeverCancelled:
    def cancelled(self) -> bool:
        return False

    def check(self) -> None:
        """Nobody cancels."""

    def wait(self, timeout_s: float) -> bool:
        time.sleep(min(timeout_s, _LOOK_S))
        return False


class Cancelled:
    def cancelled(self) -> bool:
        return True

    def check(self) -> None:
        raise errors.OperationCancelled(reason="test")

    def wait(self, timeout_s: float) -> bool:
        return True


class CancelledMeanwhile:
    """Not set at the first look, set from the second on. At the third *release* lets go what the test held up."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self._looks = 0

    def cancelled(self) -> bool:
        self._looks += 1
        if self._looks > 2:
            self._release()
        return self._looks > 1

    def check(self) -> None:
        if self.cancelled():
            raise errors.OperationCancelled(reason="test")

    def wait(self, timeout_s: float) -> bool:
        return self.cancelled()


class Died(BaseException):
    """The agent is killed: nothing of it runs any more."""


class Mortal:
    """The token of an agent that can be killed at any look but the first."""

    def __init__(self) -> None:
        self.looked = threading.Event()  # the driver is in the middle of its work
        self._killed = threading.Event()

    def kill(self) -> None:
        self._killed.set()

    def cancelled(self) -> bool:
        return self.wait(0.0)

    def check(self) -> None:
        """Nobody cancels."""

    def wait(self, timeout_s: float) -> bool:
        self.looked.set()
        if self._killed.wait(timeout_s):
            raise Died
        return False


class Harness(ABC):
    """A hypervisor for one test, and hands behind the driver's back."""

    driver: Driver
    #: of a cached image that the specs of :meth:`make_spec` boot
    image_path: str
    #: what the guest prints to its serial console when it is up
    boot_marker: bytes
    #: of another cached image, and what its guest prints
    other_image_path: str
    other_marker: bytes

    @abstractmethod
    def make_spec(self, number: int = 1, *, epoch: int = 1, obedient: bool = True) -> GuestSpec:
        """A guest that can run here; one that is not *obedient* ignores its power button."""

    @abstractmethod
    def domain_name(self, spec: GuestSpec) -> str:
        """The name the driver gives the guest's domain."""

    @abstractmethod
    def plant_foreign(self, uuid: str, name: str, *, running: bool) -> None:
        """A domain that is not Drover's."""

    @abstractmethod
    def fingerprint(self, uuid: str) -> str:
        """Changes when anything about the domain changes, seen past the driver."""

    @abstractmethod
    def cut_power(self, uuid: str) -> None:
        """The guest's process dies without the driver."""

    @abstractmethod
    def leftovers(self, uuid: str) -> list[str]:
        """Everything of a uuid that is left on the host: domain, disks, config, rules, logs."""

    @abstractmethod
    def disk_image(self, uuid: str) -> str:
        """The path of the image that the root disk was made from."""

    @abstractmethod
    def rescue_disks(self, uuid: str) -> list[str]:
        """What is left of rescue disks."""

    @abstractmethod
    def snapshots(self, uuid: str) -> list[str]:
        """What is left of snapshots, whole or in part, and of work on them."""

    @abstractmethod
    def make_heavy(self, spec: GuestSpec) -> None:
        """Called between define and start: a guest that :meth:`hold` can hold up."""

    @abstractmethod
    def hold(self) -> None:
        """From now on saving a heavy guest's memory and copying its disk come to no end."""

    @abstractmethod
    def release(self) -> None:
        """Things that are held up go on."""

    @abstractmethod
    def restart(self, deployment_id: str = DEPLOYMENT) -> Driver:
        """Throw the driver object away as the agent's death would, and make :attr:`driver` anew."""
