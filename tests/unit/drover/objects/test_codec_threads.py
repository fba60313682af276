"""Many threads may decode the same kind for the first time at once."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from dataclasses import is_dataclass

import drover.objects
from drover.rpc import agent, conductor
from drover.rpc.bus import Message
from drover.rpc.context import RequestContext

_CRASH = """
import sys, threading
from drover.objects import codec
from drover.objects.sync import SyncRequest

sys.setswitchinterval(1e-6)
result = {"operation_id": "o", "attempt": 1, "instance_uuid": "u", "epoch": 1, "outcome": "succeeded"}
steps = [{"name": "disk", "at_s": 1.0, "duration_s": 1.0}]
data = {"host": "h", "session": 1, "seq": 1, "results": [{**result, "steps": steps}]}
gate = threading.Barrier(8)

def decode():
    gate.wait()
    codec.from_plain(data, SyncRequest)

threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_first_decodings_at_once_do_not_crash_the_process() -> None:
    """msgspec 0.22 did in every second process (SIGSEGV) that had not prepared its kinds."""
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", _CRASH], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_value_is_prepared_by_its_import() -> None:
    modules = [
        importlib.import_module(f"drover.objects.{it.name}") for it in pkgutil.iter_modules(drover.objects.__path__)
    ]
    kinds = {
        kind for module in modules for kind in vars(module).values() if isinstance(kind, type) and is_dataclass(kind)
    }
    assert len(kinds) > 20
    assert [kind.__name__ for kind in kinds if not _prepared(kind)] == []


def test_the_values_of_contracts_are_prepared_too() -> None:
    own = [
        conductor.Why,
        conductor.DepotInfo,
        conductor.Service,
        conductor.Alarm,
        conductor.WaitReply,
        agent.ConsoleLog,
    ]
    assert [kind.__name__ for kind in (*own, RequestContext, Message) if not _prepared(kind)] == []


def _prepared(kind: type) -> bool:
    """msgspec keeps what it knows of a dataclass on the class."""
    return "__msgspec_cache__" in vars(kind)
