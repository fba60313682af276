"""Every error that leaves a part of Drover.

An error is a class with a stable ``code`` (never reused), a ``template`` filled from its parameters, and
``retryable``: whether the same request may succeed later without a change by the caller.  Parameters are
plain JSON values, so that an error crosses the bus and is rebuilt on the far side from code and parameters.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = ["DroverError", "by_code", "from_dict"]


class DroverError(Exception):
    """Base of all typed errors.

    :param params: JSON values that fill the template; a missing one shows as ``?``.
    """

    code: ClassVar[str] = "Internal"
    template: ClassVar[str] = "internal error: {detail}"
    retryable: ClassVar[bool] = False
    #: exit status of the command line for this error
    exit_code: ClassVar[int] = 1

    def __init__(self, **params: Any) -> None:
        # No positional argument: oslo.messaging rebuilds a remote error from ``kwargs`` alone.
        super().__init__()
        self.kwargs = params

    @property
    def message(self) -> str:
        """The template filled in, one line."""
        return self.template.format_map(_Lenient(self.kwargs))

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.code, self.kwargs))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: ``{"code", "message", "retryable", "params"}``."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "params": self.kwargs,
        }


class _Lenient(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


# --- bad input (exit 2) -----------------------------------------------------------------------------------


class BadInput(DroverError):
    """The request can never succeed as it stands; nothing was changed."""

    code = "BadInput"
    template = "{reason}"
    exit_code = 2


class BadRequest(BadInput):
    code = "BadRequest"
    template = "malformed call {method}: {reason}"


class UnknownMethod(BadInput):
    code = "UnknownMethod"
    template = "{topic} has no method {method!r}"


class UnsupportedVersion(BadInput):
    code = "UnsupportedVersion"
    template = "{topic} speaks version {supported}, the message is of version {version}"


class MessageTooLarge(BadInput):
    code = "MessageTooLarge"
    template = "message of {size_bytes} bytes is over the limit of {limit_bytes}"


class ValueRefused(BadInput):
    """A value of the request that no database holds: a NUL in text, text too long, a number out of range."""

    code = "ValueRefused"
    template = "a value cannot be stored: {detail}"


class InvalidName(BadInput):
    code = "InvalidName"
    template = "{name!r} is no valid {what}: {reason}"


class InvalidCount(BadInput):
    code = "InvalidCount"
    template = "count {count} (minimum {min_count}) is not possible: {reason}"


class InvalidNetwork(BadInput):
    code = "InvalidNetwork"
    template = "network {name!r}: {reason}"


class InvalidFlavor(BadInput):
    code = "InvalidFlavor"
    template = "flavor {name!r}: {reason}"


class InvalidKeypair(BadInput):
    code = "InvalidKeypair"
    template = "keypair {name!r}: {reason}"


class InvalidHints(BadInput):
    code = "InvalidHints"
    template = "where it is to go: {reason}"


class InvalidAggregate(BadInput):
    code = "InvalidAggregate"
    template = "aggregate {name!r}: {reason}"


class InvalidGroup(BadInput):
    code = "InvalidGroup"
    template = "server group {name!r}: {reason}"


class InvalidUserData(BadInput):
    code = "InvalidUserData"
    template = "user-data: {reason}"


class InvalidConfig(BadInput):
    code = "InvalidConfig"
    template = "configuration: {reason}"


class InvalidImage(BadInput):
    """The bytes of an image are not what was said, or not safe to use."""

    code = "InvalidImage"
    template = "image {image}: {reason}"


class ImageChecksumMismatch(InvalidImage):
    code = "ImageChecksumMismatch"
    template = "image {image}: sha256 is {actual}, expected {expected}"


class ImageUnsafe(InvalidImage):
    code = "ImageUnsafe"
    template = "image {image} refused: {reason}"


class ImageTooLarge(InvalidImage):
    code = "ImageTooLarge"
    template = "image {image}: virtual size of {virtual_size_gib} GiB is over {limit_gib} GiB"


# --- not found, conflicts (exit 3, 4) ----------------------------------------------------------------------


class NotFound(DroverError):
    code = "NotFound"
    template = "no {what} {ref!r}"
    exit_code = 3


class InstanceNotFound(NotFound):
    code = "InstanceNotFound"
    template = "no instance {ref!r}"


class FlavorNotFound(NotFound):
    code = "FlavorNotFound"
    template = "no flavor {ref!r}"


class ImageNotFound(NotFound):
    code = "ImageNotFound"
    template = "no image {ref!r}"


class NetworkNotFound(NotFound):
    code = "NetworkNotFound"
    template = "no network {ref!r}"


class KeypairNotFound(NotFound):
    code = "KeypairNotFound"
    template = "no keypair {ref!r}"


class HostNotFound(NotFound):
    code = "HostNotFound"
    template = "no host {ref!r}"


class AggregateNotFound(NotFound):
    code = "AggregateNotFound"
    template = "no aggregate {ref!r}"


class AvailabilityZoneNotFound(NotFound):
    code = "AvailabilityZoneNotFound"
    template = "no availability zone {ref!r}"


class ServerGroupNotFound(NotFound):
    code = "ServerGroupNotFound"
    template = "no server group {ref!r}"


class AlarmNotFound(NotFound):
    code = "AlarmNotFound"
    template = "no alarm {ref!r} stands"


class OperationNotFound(NotFound):
    code = "OperationNotFound"
    template = "no operation {ref!r}"


class Conflict(DroverError):
    code = "Conflict"
    template = "{reason}"
    exit_code = 4


class AmbiguousName(Conflict):
    code = "AmbiguousName"
    template = "{what} name {ref!r} is ambiguous; candidates: {candidates}"


class NameTaken(Conflict):
    code = "NameTaken"
    template = "another {what} is named {name!r}"


class InUse(Conflict):
    code = "InUse"
    template = "{what} {ref!r} is used by {users}"


class ZoneRefused(Conflict):
    code = "ZoneRefused"
    template = "host {host!r} cannot go from availability zone {present!r} to {wanted!r}: {reason}"


class InstanceBusy(Conflict):
    code = "InstanceBusy"
    template = "instance {instance} is busy with {action} (operation {operation_id}, {age_s} s old, {state})"
    retryable = True


class InstanceLocked(Conflict):
    code = "InstanceLocked"
    template = "instance {instance} is locked"


class InvalidState(Conflict):
    code = "InvalidState"
    template = "cannot {action} instance {instance} while it is {vm_state}; allowed: {allowed}"


class InstanceNotPlaced(Conflict):
    """The verb needs a guest on a host, and its build or its recovery left none."""

    code = "InstanceNotPlaced"
    template = "cannot {action} instance {instance}: no host has it"


class InstanceElsewhere(Conflict):
    """Started it might run twice: hosts show domains of it that no record names, or an old database was restored and
    they were not heard since."""

    code = "InstanceElsewhere"
    template = "cannot {action} instance {instance}: {hosts} may run it without a record; see drover doctor"


class OperationNotCancellable(Conflict):
    code = "OperationNotCancellable"
    template = "a {action} cannot be cancelled (operation {operation_id})"


class CureRefused(Conflict):
    code = "CureRefused"
    template = "cannot recover instance {instance} by {cure}: {reason}"


class IdempotencyMismatch(Conflict):
    code = "IdempotencyMismatch"
    template = "idempotency key {key!r} was used before with other parameters"


class ImageNotReady(Conflict):
    code = "ImageNotReady"
    template = "image {ref!r} is {status}"
    retryable = True


class NoAddresses(Conflict):
    code = "NoAddresses"
    template = "network {network!r} has {free} free addresses, {wanted} wanted"


class QuotaExceeded(Conflict):
    code = "QuotaExceeded"
    template = "quota of project {project!r} is short of {resource}: {asked} more asked, {used} of {limit} used"


class OffsetMismatch(Conflict):
    """A chunk does not begin where the depot's bytes end; go on from ``size_bytes``."""

    code = "OffsetMismatch"
    template = "image {image}: the depot has {size_bytes} bytes, the chunk begins at {offset}"


class TokenRefused(DroverError):
    """A depot token is malformed, forged, expired, or made for another image or purpose."""

    code = "TokenRefused"
    template = "depot token refused: {reason}"


class AlarmStands(Conflict):
    """An alarm that Drover clears itself, when its cause is gone."""

    code = "AlarmStands"
    template = "alarm {kind} {subject} is cleared when this is so: {cleared}"


class EventsElsewhere(Conflict):
    code = "EventsElsewhere"
    template = "this conductor keeps no events: they are told on the broker's exchange {exchange}"


class SenderRefused(DroverError):
    """The broker does not vouch for the sender of a message, or the sender may not ask for this."""

    code = "SenderRefused"
    template = "{method} is refused to {sender}: {reason}"


# --- hosts and agents --------------------------------------------------------------------------------------


class HostNameTaken(Conflict):
    code = "HostNameTaken"
    template = (
        "host name {host!r} belongs to another machine ({known}); this one is {claimed}. "
        "If the machine was replaced: drover host adopt {host}"
    )


class StaleSession(Conflict):
    code = "StaleSession"
    template = "session {session} of host {host!r} was replaced by {current}"


class HostFenced(Conflict):
    """An operator said that the machine is off for good; also the fault of the instances that were on it."""

    code = "HostFenced"
    template = (
        "host {host!r} was fenced by {by} at {at}: {reason}. When its machine may come back: drover host adopt {host}"
    )


class HostUp(Conflict):
    code = "HostUp"
    template = "host {host!r} spoke {age_s} s ago: what speaks is not off (silent after {silent_after_s} s)"
    retryable = True


class StateDirLocked(Conflict):
    code = "StateDirLocked"
    template = "state directory {path} is in use by another agent"


# --- outcomes of operations --------------------------------------------------------------------------------


class NoValidHost(DroverError):
    code = "NoValidHost"
    template = "no valid host for {what}: {reason}"
    exit_code = 5


class HostSilent(DroverError):
    code = "HostSilent"
    template = "host {host!r} did not answer within {budget_s} s"
    exit_code = 5


class BudgetExceeded(DroverError):
    code = "BudgetExceeded"
    template = "{action} did not end within {budget_s} s"
    exit_code = 5


class Superseded(DroverError):
    code = "Superseded"
    template = "superseded by {action} (operation {operation_id})"
    exit_code = 5


class OutcomeUnknown(DroverError):
    code = "OutcomeUnknown"
    template = "{action} was interrupted and nothing tells whether it happened: {detail}"
    exit_code = 5


class OperationCancelled(DroverError):
    code = "OperationCancelled"
    template = "cancelled: {reason}"
    exit_code = 5


class OperationFailed(DroverError):
    """An operation ended badly; carries the code and words of its cause."""

    code = "OperationFailed"
    template = "{action} failed: {reason}"
    exit_code = 5


class RestartsExhausted(DroverError):
    """Why an instance that should run is stopped."""

    code = "RestartsExhausted"
    template = "it ended by itself again after {restarts} restarts in a row; start it when the cause is mended"
    exit_code = 5


class ClaimRefused(DroverError):
    code = "ClaimRefused"
    template = "host {host} has no room for it: {reason}"
    retryable = True


# --- drivers and agents' surroundings ----------------------------------------------------------------------


class DriverError(DroverError):
    """The hypervisor refused or failed."""

    code = "DriverError"
    template = "{operation}: {detail}"
    retryable = True


class DriverUnavailable(DriverError):
    code = "DriverUnavailable"
    template = "hypervisor unreachable: {detail}"


class DriverTimeout(DriverError):
    code = "DriverTimeout"
    template = "{operation} did not return within {timeout_s} s"


class GuestNotFound(DriverError):
    code = "GuestNotFound"
    template = "no guest {instance} here"
    retryable = False
    exit_code = 3


class GuestConflict(DriverError):
    """A domain that is not ours to replace stands in the way (foreign, or of another epoch)."""

    code = "GuestConflict"
    template = "guest {instance}: {reason}"
    retryable = False


class VirtTypeUnsupported(DriverError):
    code = "VirtTypeUnsupported"
    template = "virt type {virt_type} does not work here: {reason}"


class BridgeNotFound(DriverError):
    code = "BridgeNotFound"
    template = "this host has no bridge {bridge!r} for network {network!r}"


class ImageFetchFailed(DriverError):
    code = "ImageFetchFailed"
    template = "fetching image {image}: {detail}"


class ImageUploadFailed(DriverError):
    code = "ImageUploadFailed"
    template = "sending image {image}: {detail}"


class DiskFull(DriverError):
    code = "DiskFull"
    template = "no space for {what} on {path}"


# --- infrastructure ----------------------------------------------------------------------------------------


class Unavailable(DroverError):
    """A part that is needed cannot be reached now; trying again is right."""

    code = "Unavailable"
    template = "{what} is unavailable: {detail}"
    retryable = True
    exit_code = 6


class BusUnavailable(Unavailable):
    code = "BusUnavailable"
    template = "message bus unavailable: {detail}"


class CallTimeout(Unavailable):
    code = "CallTimeout"
    template = "{topic} did not answer {method} within {timeout_s} s"


class HostStillSpeaks(Unavailable):
    """Another boot of a host asks for its place while the present one may live: it just went down, or one is a copy."""

    code = "HostStillSpeaks"
    template = "host {host!r} is served by another boot of it; its place is free after {lease_s} s without a word"


class StoreUnavailable(Unavailable):
    code = "StoreUnavailable"
    template = "database unavailable: {detail}"


class StoreBusy(Unavailable):
    """A transaction lost against others (deadlock, lock or statement timeout); nothing was changed."""

    code = "StoreBusy"
    template = "database busy: {detail}"


class OldDatabase(Unavailable):
    """A host was given a session that the database has yet to give: its newer rows are lost, and nothing may begin."""

    code = "OldDatabase"
    template = "the database is an old copy: {detail}; stop all conductors and schedulers, then run: drover db restored"


class StoreConflict(Conflict):
    """A row stands against what was written. *constraint* is its name in drover.db.schema, "" when not told."""

    code = "StoreConflict"
    template = "constraint {constraint!r} refuses it: {detail}"


class StatementRefused(DroverError):
    """The database does not take this statement: a defect of Drover, or a schema of another release."""

    code = "StatementRefused"
    template = "database refused a statement: {detail}"


class SchemaMismatch(DroverError):
    code = "SchemaMismatch"
    template = "database is at revision {actual}, this release needs {expected}; run: drover db upgrade"
    retryable = True


class DatabaseInUse(Conflict):
    code = "DatabaseInUse"
    template = "database file {path} is in use by another process"


class ServicesConnected(Conflict):
    """What is about to be settled must not be read or written by anybody else."""

    code = "ServicesConnected"
    template = "{connections} other connections of Drover to the database: stop all conductors and schedulers first"


class LabFailed(DroverError):
    code = "LabFailed"
    template = "lab: {reason}"


class WaitTimeout(DroverError):
    code = "WaitTimeout"
    template = "still {states} after {timeout_s} s"
    retryable = True
    exit_code = 7


def _all_errors() -> dict[str, type[DroverError]]:
    found: dict[str, type[DroverError]] = {}
    todo: list[type[DroverError]] = [DroverError]
    while todo:
        cls = todo.pop()
        if "code" in vars(cls):  # oslo.messaging makes a subclass of each error that arrives from afar
            found[cls.code] = cls
        todo.extend(cls.__subclasses__())
    return found


def by_code(code: str) -> type[DroverError]:
    """The class of a code; :class:`DroverError` itself for a code of a newer release."""
    return _all_errors().get(code, DroverError)


def from_dict(data: dict[str, Any]) -> DroverError:
    """Rebuild an error from :meth:`DroverError.to_dict`; unknown codes keep their words."""
    cls = by_code(str(data.get("code", "")))
    params = dict(data.get("params") or {})
    if cls is DroverError and data.get("code") != "Internal":
        params = {"detail": data.get("message", "?")}
    return cls(**params)


def _rebuild(code: str, params: dict[str, Any]) -> DroverError:
    return by_code(code)(**params)
