"""What an owner and its workers say to each other, message by message.

A worker never says an entry of its own making but those of a run, and the owner takes no more from
it than these fields: whose rows they are, where they belong, and that the second entry continues
the first, it works out itself (``clerk``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.gate.share import HEAVIEST
from casemate.server.wire import Message

Name = Annotated[str, Meta(min_length=1, max_length=400)]
Number = Annotated[int, Meta(ge=0)]
Cost = Annotated[float, Meta(ge=0, le=1e12)]
Weight = Annotated[int, Meta(ge=1, le=HEAVIEST)]
Priority = Literal["interactive", "normal", "batch"]
Outcome = Literal["answered", "unanswered", "failed"]


# Owner → worker


class Orders(Message, frozen=True):
    """The first message: what a worker is, and what it works with.

    settings: JSON; places, country: files as they are in force, not as they lie there now.
    witnesses: what entries of runs say of them, as JSON; empty where there are none.
    """

    number: int
    of: int
    folder: str
    settings: bytes
    places: bytes
    country: bytes | None
    witnesses: bytes


class Accept(Message, frozen=True):
    """Everybody is prepared: let clients in."""


class Written(Message, frozen=True):
    """The entry of message ``number`` is durable, at ``index``."""

    number: int
    index: int


class Failed(Message, frozen=True):
    """What message ``number`` wanted did not come about: the name of an error, and its words."""

    number: int
    kind: str
    what: str
    next: str
    retry_after: int | None = None


class Places(Message, frozen=True):
    """Other places are in force: the file of the perimeter, to be taken over before an answer."""

    number: int
    content: bytes


class Count(Message, frozen=True):
    """Say what was counted so far."""

    number: int


class Entered(Message, frozen=True):
    """There is room for the run of message ``number``, and turns take so long of late."""

    number: int
    usual_seconds: float


class Passed(Message, frozen=True):
    """How far the turn of message ``number`` is: so many go first; 0: it has come."""

    number: int
    position: int


FromOwner = Orders | Accept | Written | Failed | Places | Count | Entered | Passed


# Worker → owner


class Prepared(Message, frozen=True):
    """All is loaded; clients can be let in."""


class Accepting(Message, frozen=True):
    """Clients are let in."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A run as the database keeps it from its beginning."""

    id: Name
    tenant: Name
    principal: Name
    use_case: Name
    model: Name
    label: Name
    created: Name


class Content(msgspec.Struct, frozen=True, array_like=True):
    """One sealed content of a run."""

    field: Name
    sealed: bytes


class Opens(Message, frozen=True):
    """A run begins. ``entry``: its first, in canonical bytes."""

    number: Number
    row: Row
    contents: list[Content]
    entry: bytes


class Ends(Message, frozen=True):
    """A run of this worker ends. ``entry``: its second, in canonical bytes."""

    number: Number
    run: Name
    label: Name
    outcome: Outcome
    ended: Name
    contents: list[Content]
    entry: bytes


class Enters(Message, frozen=True):
    """A run wants room among those that ``model`` answers. See ``engines.schedule.Flow``."""

    number: Number
    model: Name
    tenant: Name
    principal: Name
    use_case: Name
    priority: Priority
    tenant_weight: Weight
    principal_weight: Weight


class Leaves(Message, frozen=True):
    """The run of message ``entered`` needs its room no more."""

    entered: Number


class Waits(Message, frozen=True):
    """The run of message ``entered`` wants a turn. ``cost``: tokens, as estimated."""

    number: Number
    entered: Number
    cost: Cost


class Worked(Message, frozen=True):
    """The turn of message ``number`` is over. ``cost``: what it really was, if there was any."""

    number: Number
    cost: Cost | None
    failed: bool


class Stopped(Message, frozen=True):
    """A run that ended as failed did so because its right was taken back."""

    number: Number
    run: Name


class Denied(Message, frozen=True):
    """Policies refuse what a run of this worker's goes on with. ``actor``: a pseudonym."""

    number: Number
    actor: Name
    action: Name
    resource: Name
    policies: list[Name]
    policy_set: Name


class Reached(msgspec.Struct, frozen=True, array_like=True):
    """Attempts that the guard stopped: see ``gate.refusal``."""

    way: Annotated[str, Meta(max_length=40)]
    reach: Annotated[str, Meta(max_length=40)]
    port: Annotated[int, Meta(ge=0, le=65_535)]
    by: Annotated[str, Meta(max_length=64)]
    attempts: Annotated[int, Meta(ge=1)]


class Stayed(Message, frozen=True):
    """What the guard of this process stopped since it was last told."""

    number: Number
    attempts: Annotated[list[Reached], Meta(max_length=64)]


class Taken(Message, frozen=True):
    """What message ``number`` of the owner said holds here now."""

    number: Number


class Counted(Message, frozen=True):
    """What was counted, in answer to message ``number``; 0: at the end. JSON, see ``counts``."""

    number: Number
    counts: bytes


FromWorker = (
    Prepared
    | Accepting
    | Enters
    | Leaves
    | Waits
    | Worked
    | Opens
    | Ends
    | Stopped
    | Denied
    | Stayed
    | Taken
    | Counted
)
