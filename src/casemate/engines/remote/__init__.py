"""The ``remote`` engine: one model that runs on servers inside the perimeter."""

from casemate.engines.remote.breaker import STATES
from casemate.engines.remote.engine import RemoteEngine
from casemate.engines.remote.exchange import Exchange
from casemate.engines.remote.phases import Phases
from casemate.engines.remote.replica import Health

__all__ = ["STATES", "Exchange", "Health", "Phases", "RemoteEngine"]
