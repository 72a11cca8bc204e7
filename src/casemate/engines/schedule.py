"""The schedule: who of those that wait for an engine goes next.

Lines by priority; within a line start-time fair queueing over tenants, and over the principals of
a tenant: each is charged the tokens of what it was given, divided by its weight, and who was
charged least goes next. One principal's are served in the order in which they came. Nobody
starves: a lower line that waits gets one turn in ``AGE``. Batch never holds every slot, so that a
question finds one; nor does a tenant, as long as another had one of the last ``LATELY`` turns.

Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", SIGCOMM 1996. Over any time in which two
tenants of one line both wait, what they are given differs, each divided by its weight, by at most
the sum of their largest single costs divided by their weights.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from casemate.gate.share import PRIORITIES

if TYPE_CHECKING:
    from casemate.gate.admission import Admission

BATCH = PRIORITIES[-1]
AGE = 16  # turns, of which one is a lower line's if it waits
LATELY = 64  # turns; who had none of them is not expected to come at any moment
_REMEMBERED = 1024  # tenants, or principals of a tenant, whose charge is kept while none waits


@dataclass(frozen=True)
class Flow:
    """Whom work is for."""

    tenant: str
    principal: str
    priority: str = "normal"
    tenant_weight: int = 1
    principal_weight: int = 1

    @classmethod
    def of(cls, admission: Admission) -> Flow:
        """Whom the work of an admitted run is for."""
        standing = admission.standing
        return cls(
            admission.tenant,
            admission.principal.id,
            standing.priority,
            standing.tenant_weight,
            standing.principal_weight,
        )


@dataclass(eq=False)
class Ticket:
    """A place in the schedule: waiting, then at work. ``cost``: tokens, as estimated."""

    flow: Flow
    cost: float
    number: int
    working: bool = False


@dataclass
class _Queue:
    """What one principal waits for."""

    tag: float = 0.0
    tickets: deque[Ticket] = field(default_factory=deque)

    def __bool__(self) -> bool:
        return bool(self.tickets)

    @property
    def first(self) -> int:
        return self.tickets[0].number


@dataclass
class _Tenant:
    """What the principals of one tenant wait for."""

    tag: float = 0.0
    virtual: float = 0.0
    queues: dict[str, _Queue] = field(default_factory=dict)
    waiting: int = 0

    def __bool__(self) -> bool:
        return self.waiting > 0

    @property
    def first(self) -> int:
        return min(queue.first for queue in self.queues.values() if queue)


@dataclass
class _Line:
    """Everybody of one priority."""

    virtual: float = 0.0
    tenants: dict[str, _Tenant] = field(default_factory=dict)
    waiting: int = 0
    passed_over: int = 0  # turns that others were given while somebody waited here
    working: int = 0

    def waits(self, sated: str | None) -> bool:
        """Whether anybody waits here but the tenant ``sated``."""
        here = self.tenants.get(sated) if sated is not None else None
        return self.waiting > (0 if here is None else here.waiting)


class Schedule:
    """Slots, and who waits for one. No clock and no waiting in it: see ``Turns``."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.working = 0
        self._waiting = 0
        self._lines = {priority: _Line() for priority in PRIORITIES}
        self._numbers = itertools.count()
        self._at_work: set[Ticket] = set()
        self._latest: deque[str] = deque(maxlen=LATELY)  # tenants whose turn it was

    def __len__(self) -> int:
        return self._waiting

    def remember(self, tenant: str) -> None:
        """Count a tenant among those whose turn it was lately."""
        self._latest.append(tenant)

    def waiting(self, priority: str) -> int:
        """How many wait in one line."""
        return self._lines[priority].waiting

    def at_work(self, priority: str) -> int:
        """How many of one line have a slot."""
        return self._lines[priority].working

    def join(self, flow: Flow, cost: float) -> Ticket:
        """Wait. ``cost`` is an estimate, in tokens, above 0."""
        line = self._lines[flow.priority]
        tenant = line.tenants.setdefault(flow.tenant, _Tenant())
        queue = tenant.queues.setdefault(flow.principal, _Queue())
        # Who did not wait is owed nothing for the time before.
        if not tenant:
            tenant.tag = max(tenant.tag, line.virtual)
        if not queue:
            queue.tag = max(queue.tag, tenant.virtual)
        ticket = Ticket(flow, cost, next(self._numbers))
        queue.tickets.append(ticket)
        tenant.waiting += 1
        line.waiting += 1
        self._waiting += 1
        return ticket

    def join_at_once(self, flow: Flow, cost: float) -> Ticket | None:
        """``join`` and ``next`` in one, where nobody waits and a slot is free; None elsewhere."""
        line = self._lines[flow.priority]
        if self.working >= self.slots or self._waiting:
            return None
        if flow.priority == BATCH and not self._free_for_batch(line):
            return None
        if flow.tenant == self._sated():
            return None
        tenant = line.tenants.setdefault(flow.tenant, _Tenant())
        queue = tenant.queues.setdefault(flow.principal, _Queue())
        tenant.tag = max(tenant.tag, line.virtual)
        queue.tag = max(queue.tag, tenant.virtual)
        ticket = Ticket(flow, cost, next(self._numbers))
        _charge(line, ticket, cost)
        self._begin(line, ticket)  # nobody was passed over, since nobody waits
        return ticket

    def next(self) -> Ticket | None:
        """Who has a slot now; None if none is free, or nobody may have it."""
        if self.working >= self.slots:
            return None
        sated = self._sated()
        line = self._line(sated)
        if line is None:
            return None
        ticket = _first(line, sated)
        _charge(line, ticket, ticket.cost)
        self._remove(ticket)
        for other in self._lines.values():
            other.passed_over = other.passed_over + 1 if other is not line and other.waiting else 0
        self._begin(line, ticket)
        return ticket

    def leave(self, ticket: Ticket, cost: float | None = None) -> None:
        """Give up a place, waiting or at work. ``cost``: what the work really was, in tokens."""
        line = self._lines[ticket.flow.priority]
        if not ticket.working:
            self._remove(ticket)
            return
        ticket.working = False
        line.working -= 1
        self.working -= 1
        self._at_work.discard(ticket)
        if cost is not None:
            _charge(line, ticket, cost - ticket.cost, ahead=False)
        _forget(line, ticket.flow.tenant)

    def order(self, most: int) -> Iterator[Ticket]:
        """Who would go next, and after that, if nobody else came; at most ``most``."""
        lines = [line for line in self._lines.values() if line.waiting]
        for line in lines:
            for ticket in _order(line, most):
                if most <= 0:
                    return
                most -= 1
                yield ticket

    def _sated(self) -> str | None:
        """The tenant that holds every slot but the last, which is kept for others."""
        if self.slots < 2 or self.working != self.slots - 1:
            return None
        tenants = {ticket.flow.tenant for ticket in self._at_work}
        if len(tenants) != 1 or tenants.issuperset(self._latest):
            return None
        return tenants.pop()

    def _begin(self, line: _Line, ticket: Ticket) -> None:
        ticket.working = True
        line.working += 1
        self.working += 1
        self._at_work.add(ticket)
        self._latest.append(ticket.flow.tenant)

    def _line(self, sated: str | None) -> _Line | None:
        able = [
            line
            for priority, line in self._lines.items()
            if line.waits(sated) and (priority != BATCH or self._free_for_batch(line))
        ]
        owed = [line for line in able if line.passed_over >= AGE - 1]
        if owed:
            return max(owed, key=lambda line: line.passed_over)
        return able[0] if able else None

    def _free_for_batch(self, batch: _Line) -> bool:
        return batch.working < max(1, self.slots - 1)

    def _remove(self, ticket: Ticket) -> None:
        line = self._lines[ticket.flow.priority]
        tenant = line.tenants[ticket.flow.tenant]
        queue = tenant.queues[ticket.flow.principal]
        queue.tickets.remove(ticket)
        tenant.waiting -= 1
        line.waiting -= 1
        self._waiting -= 1
        if not line.waiting:
            line.passed_over = 0


def _first(line: _Line, sated: str | None) -> Ticket:
    able = (one for name, one in line.tenants.items() if one and name != sated)
    tenant = min(able, key=lambda one: (one.tag, one.first))
    queue = min((one for one in tenant.queues.values() if one), key=lambda q: (q.tag, q.first))
    return queue.tickets[0]


def _charge(line: _Line, ticket: Ticket, cost: float, *, ahead: bool = True) -> None:
    """Charge a flow; ``ahead``: it is given a turn now, and time goes on to where it began."""
    flow = ticket.flow
    tenant = line.tenants.get(flow.tenant)
    queue = None if tenant is None else tenant.queues.get(flow.principal)
    if tenant is None or queue is None:
        return  # forgotten meanwhile: its charge no longer matters
    if ahead:
        line.virtual = max(line.virtual, tenant.tag)
        tenant.virtual = max(tenant.virtual, queue.tag)
    tenant.tag += cost / flow.tenant_weight
    queue.tag += cost / flow.principal_weight


def _forget(line: _Line, tenant: str) -> None:
    """Drop charges that time has overtaken, once there are many: of tenants, or of this one's."""
    if len(line.tenants) > _REMEMBERED:
        line.tenants = {
            name: one for name, one in line.tenants.items() if one or one.tag > line.virtual
        }
    found = line.tenants.get(tenant)
    if found is not None and len(found.queues) > _REMEMBERED:
        found.queues = {
            name: one for name, one in found.queues.items() if one or one.tag > found.virtual
        }


def _order(line: _Line, most: int) -> Iterator[Ticket]:
    """The order within a line, found on copies of its charges."""
    tenants = {name: one.tag for name, one in line.tenants.items() if one}
    queues = {
        name: {who: [queue.tag, 0] for who, queue in line.tenants[name].queues.items() if queue}
        for name in tenants
    }
    while tenants and most > 0:
        name = min(tenants, key=lambda one: (tenants[one], line.tenants[one].first))
        own = queues[name]
        who = min(own, key=lambda one: (own[one][0], line.tenants[name].queues[one].first))
        tag, index = own[who]
        tickets = line.tenants[name].queues[who].tickets
        ticket = tickets[int(index)]
        yield ticket
        most -= 1
        tenants[name] += ticket.cost / ticket.flow.tenant_weight
        own[who] = [tag + ticket.cost / ticket.flow.principal_weight, index + 1]
        if index + 1 == len(tickets):
            del own[who]
            if not own:
                del tenants[name]
