"""What becomes of each message and each transaction.

Each belongs to a channel and has a number in it, so the same one meets the same fate when something else is taken
out of the plan.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from drover import errors
from drover.rpc.fault import DELIVER, DROP, DUPLICATE, Fault, Parcel, ParcelKind
from tests.simulation.kernel import Kernel
from tests.simulation.plan import Fate, Mishap, Plan, Spell

__all__ = ["USERS", "Weather"]

#: who asks; never killed
USERS = "users"
#: seconds that what a mishap killed stays dead
_DEAD_S = 8.0

_MESSAGE = (("drop", Fate.DROP), ("duplicate", Fate.DUPLICATE), ("delay", Fate.DELAY), ("kill", Fate.KILL))
_TRANSACTION = (("refuse", Fate.REFUSE), ("busy", Fate.BUSY), ("lose", Fate.LOSE), ("kill", Fate.KILL))


class Weather:
    """A :class:`drover.rpc.fault.FaultPolicy` that follows a plan.

    :param fall: kills a process for so many seconds.
    """

    def __init__(self, kernel: Kernel, plan: Plan, fall: Callable[[str, float], None]) -> None:
        self.cut: Counter[str] = Counter()  # processes that no message reaches or leaves
        self.broker_down = 0
        self.database_down: Counter[str] = Counter()  # for these; "" is all
        self.met: list[Mishap] = []  # what spells came to
        self._kernel = kernel
        self._plan = plan
        self._fall = fall
        self._numbers: Counter[str] = Counter()
        self._mishaps = {(m.channel, m.nth): m for m in plan.mishaps}

    def judge(self, parcel: Parcel) -> Fault:
        """Each message is a switch point: whoever sends may die before or after."""
        self._kernel.pause()
        mishap = self._meet(f"{parcel.sender}>{parcel.receiver} {_subject(parcel)}", _MESSAGE, parcel.sender)
        if self.cut[parcel.sender] or self.cut[parcel.receiver.removeprefix("agent.")]:
            return DROP
        if self.broker_down:
            raise errors.BusUnavailable(detail="the simulated broker is down")
        if mishap is None:
            return DELIVER
        match mishap.fate:
            case Fate.DROP:
                return DROP
            case Fate.DUPLICATE:
                return DUPLICATE
            case Fate.DELAY:
                return Fault(delay_s=mishap.seconds)
            case _:
                self._fall(parcel.sender, mishap.seconds)
                return DELIVER

    def transaction(self, process: str, kind: str) -> Mishap | None:
        """The fate of one transaction; a switch point before it.

        :raises errors.StoreUnavailable: it does not begin.
        """
        self._kernel.pause()
        mishap = self._meet(f"{process}>database {kind}", _TRANSACTION, process)
        if self.database_down[""] or self.database_down[process]:
            raise errors.StoreUnavailable(detail="the simulated database is down")
        if mishap is not None and mishap.fate is Fate.REFUSE:
            raise errors.StoreUnavailable(detail="the simulated database refuses the connection")
        return mishap

    def after(self, process: str, mishap: Mishap | None) -> None:
        """It is committed: who began it may never know.

        :raises errors.StoreUnavailable: nobody says so.
        """
        if mishap is not None and mishap.fate is Fate.KILL:
            self._fall(process, mishap.seconds)
        elif mishap is not None and mishap.fate is Fate.LOSE:
            raise errors.StoreUnavailable(detail="the simulated connection broke at the commit")
        self._kernel.pause()

    def _meet(self, channel: str, fates: Sequence[tuple[str, Fate]], sender: str) -> Mishap | None:
        """The mishap of the next one in *channel*, by the plan or by a spell's chance."""
        nth = self._numbers[channel] = self._numbers[channel] + 1
        mishap = self._mishaps.get((channel, nth)) or self._chance(channel, nth, fates)
        if mishap is not None and mishap.fate is Fate.KILL and sender == USERS:
            return None
        self._kernel.note(f"{channel} {nth} {mishap.fate if mishap else ''}")
        return mishap

    def _chance(self, channel: str, nth: int, fates: Sequence[tuple[str, Fate]]) -> Mishap | None:
        for spell in self._present():
            luck, amount = self._luck(channel, nth)
            for name, fate in fates:
                chance: float = getattr(spell, name)
                if luck < chance:
                    seconds = {Fate.DELAY: amount * spell.longest_s, Fate.KILL: amount * _DEAD_S}.get(fate, 0.0)
                    mishap = Mishap(channel=channel, nth=nth, fate=fate, seconds=round(seconds, 3))
                    self.met.append(mishap)
                    return mishap
                luck -= chance
        return None

    def _present(self) -> Iterator[Spell]:
        now_s = self._kernel.now_s
        return (spell for spell in self._plan.spells if spell.at_s <= now_s < spell.at_s + spell.for_s)

    def _luck(self, channel: str, nth: int) -> tuple[float, float]:
        """Two numbers from 0 to 1, always the same ones."""
        drawn = hashlib.blake2b(f"{self._plan.seed}/{channel}/{nth}".encode(), digest_size=8).digest()
        return int.from_bytes(drawn[:4]) / 2**32, int.from_bytes(drawn[4:]) / 2**32


def _subject(parcel: Parcel) -> str:
    return f"{parcel.method} reply" if parcel.kind is ParcelKind.REPLY else parcel.method
