"""What a scrape reads off the installation: queues, engines, tokens, search, ledger, room on disk.

By use case, model and priority, which are few and named by administrators; never by person. The
dashboard and the alerts in ``docs/monitoring`` are held against these names by a test.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from casemate import __version__
from casemate.engines.remote import STATES
from casemate.gate.limit import shown
from casemate.gate.share import PRIORITIES
from casemate.spread import BOUNDS, Spread

if TYPE_CHECKING:
    from casemate.engines.remote import Health
    from casemate.engines.turns import Turns
    from casemate.installation import Installation


def families(installation: Installation, door: Turns) -> Iterator[Metric]:
    """Everything, as it is now."""
    yield from _queues(installation.engines.queues())
    yield from of_process(installation, door)
    yield _histogram("casemate_search_seconds", "Seconds of a search.", installation.searches.works)
    yield GaugeMetricFamily(
        "casemate_searches_waiting",
        "Searches that wait for a processor.",
        value=sum(map(installation.searches.waiting, PRIORITIES)),
    )
    yield _histogram(
        "casemate_ledger_append_seconds",
        "Seconds until an entry of the ledger is durable.",
        installation.ledger.times,
    )
    witnessing = installation.witnessing
    yield GaugeMetricFamily(
        "casemate_witness_problems",
        "Witnesses that do not answer or do not sign.",
        value=0 if witnessing is None else len(witnessing.problems),
    )
    yield GaugeMetricFamily(
        "casemate_disk_free_bytes",
        "Free room on the disk of the data folder.",
        value=shutil.disk_usage(installation.folder.path).free,
    )
    version = GaugeMetricFamily("casemate_build_info", "The version.", labels=["version"])
    version.add_metric([__version__], 1)
    yield version


def of_process(installation: Installation, door: Turns) -> Iterator[Metric]:
    """What each process that serves has for itself."""
    yield from _replicas(installation.engines.replicas())
    yield from _used(installation)
    yield from _refused(installation, door)


def _queues(queues: list[tuple[str, Turns]]) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "casemate_waiting", "Calls that wait for a slot.", labels=["model", "priority"]
    )
    working = GaugeMetricFamily(
        "casemate_working", "Calls that have a slot.", labels=["model", "priority"]
    )
    slots = GaugeMetricFamily("casemate_slots", "Slots of a model.", labels=["model"])
    waits = HistogramMetricFamily(
        "casemate_wait_seconds", "Seconds waited for a slot.", labels=["model", "priority"]
    )
    works = HistogramMetricFamily(
        "casemate_turn_seconds", "Seconds for which a slot was held.", labels=["model"]
    )
    given_up = CounterMetricFamily(
        "casemate_given_up", "Calls given up while they waited.", labels=["model", "priority"]
    )
    failures = CounterMetricFamily(
        "casemate_engine_failures", "Calls that the engine failed.", labels=["model"]
    )
    full = CounterMetricFamily(
        "casemate_queue_refused", "Runs refused because too many wait.", labels=["model"]
    )
    for model, turns in queues:
        for priority in PRIORITIES:
            waiting.add_metric([model, priority], turns.waiting(priority))
            working.add_metric([model, priority], turns.at_work(priority))
            given_up.add_metric([model, priority], turns.given_up[priority])
            _add(waits, [model, priority], turns.waits[priority])
        slots.add_metric([model], turns.slots)
        failures.add_metric([model], turns.failures)
        full.add_metric([model], turns.refused)
        _add(works, [model], turns.works)
    yield from (waiting, working, slots, waits, works, given_up, failures, full)


def _replicas(models: list[tuple[str, tuple[Health, ...]]]) -> Iterator[Metric]:
    """By the number of a replica in its model's manifest; addresses are nobody's business."""
    labels = ["model", "replica"]
    outstanding = GaugeMetricFamily(
        "casemate_replica_outstanding", "Exchanges under way with a replica.", labels=labels
    )
    states = GaugeMetricFamily(
        "casemate_replica_state",
        "1 for the state that a replica's circuit breaker is in.",
        labels=[*labels, "state"],
    )
    failures = CounterMetricFamily(
        "casemate_replica_failures", "Exchanges that a replica failed.", labels=labels
    )
    retries = CounterMetricFamily(
        "casemate_replica_retries",
        "Exchanges begun again elsewhere after this replica failed them.",
        labels=labels,
    )
    for model, replicas in models:
        for replica in replicas:
            which = [model, str(replica.number)]
            outstanding.add_metric(which, replica.outstanding)
            for state in STATES:
                states.add_metric([*which, state], int(state == replica.state))
            failures.add_metric(which, replica.failures)
            retries.add_metric(which, replica.retries)
    yield from (outstanding, states, failures, retries)


def _used(installation: Installation) -> Iterator[Metric]:
    labels = ["use_case", "model"]
    tokens = CounterMetricFamily(
        "casemate_tokens", "Tokens read and written by models.", labels=[*labels, "kind"]
    )
    gpu = CounterMetricFamily(
        "casemate_estimated_gpu_seconds", "GPU-seconds, an estimate.", labels=labels
    )
    energy = CounterMetricFamily(
        "casemate_estimated_watt_hours", "Watt-hours, an estimate.", labels=labels
    )
    for (use_case, model), used in list(installation.used.items()):
        tokens.add_metric([use_case, model, "read"], used.tokens - used.written)
        tokens.add_metric([use_case, model, "written"], used.written)
        gpu.add_metric([use_case, model], shown("gpu_seconds", used.gpu_seconds))
        energy.add_metric([use_case, model], shown("watt_hours", used.watt_hours))
    yield from (tokens, gpu, energy)


def _refused(installation: Installation, door: Turns) -> Iterator[Metric]:
    refused = CounterMetricFamily(
        "casemate_quota_refused",
        "Runs refused by a limit.",
        labels=["of", "measure", "window"],
    )
    for (of, measure, window), count in list(installation.gate.budgets.refused.items()):
        refused.add_metric([of, measure, window], count)
    yield refused
    yield GaugeMetricFamily(
        "casemate_door_waiting",
        "Requests that wait to be looked at.",
        value=sum(map(door.waiting, PRIORITIES)),
    )
    yield CounterMetricFamily(
        "casemate_door_refused", "Requests refused because too many wait.", value=door.refused
    )


def _histogram(name: str, help: str, spread: Spread) -> Metric:
    made = HistogramMetricFamily(name, help)
    _add(made, [], spread)
    return made


def _add(family: HistogramMetricFamily, labels: list[str], spread: Spread) -> None:
    counts, seconds = spread.read()
    names = [*map(str, BOUNDS), "+Inf"]
    family.add_metric(
        labels, [(name, count) for name, count in zip(names, counts, strict=True)], seconds
    )
