"""The only door to time, threads, chance and sockets.

Every process is built from a :class:`~drover.runtime.runtime.Runtime`.  Production uses
:mod:`drover.runtime.threads`; the simulation uses its own, where one task runs at a time and each wait is a
switch point chosen by a seed.
"""

from drover.runtime.runtime import Clock, Event, Lock, Pool, Queue, Random, Runtime, Task

__all__ = ["Clock", "Event", "Lock", "Pool", "Queue", "Random", "Runtime", "Task"]
