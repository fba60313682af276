"""What the suite needs of a hypervisor beside its driver."""

from __future__ import annotations

from abc import ABC, abstractmethod

from agent.virt.driver import Driver
from drover import errors
from drover.objects.guest import GuestSpec
from tests.contract.virt.spec import DEPLOYMENT

__all__ = ["Cancelled", "Harness", "NeverCancelled"]


class NeverCancelled:
    def cancelled(self) -> bool:
        return False

    def check(self) -> None:
        """Nobody cancels."""

    def wait(self, timeout_s: float) -> bool:
        return False


class Cancelled:
    def cancelled(self) -> bool:
        return True

    def check(self) -> None:
        raise errors.OperationCancelled(reason="test")

    def wait(self, timeout_s: float) -> bool:
        return True


class Harness(ABC):
    """A hypervisor for one test, and hands behind the driver's back."""

    driver: Driver
    #: of a cached image that the specs of :meth:`make_spec` boot
    image_path: str
    #: what the guest prints to its serial console when it is up
    boot_marker: bytes

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
    def restart(self, deployment_id: str = DEPLOYMENT) -> Driver:
        """Throw the driver object away as the agent's death would, and make :attr:`driver` anew."""
