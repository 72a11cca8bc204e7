"""What the dashboard, the alerts and the page name is there in what ``/metrics`` gives."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from house_builders import DOG_TAX, FEES, a_house, a_server
from prometheus_client.parser import text_string_to_metric_families

import dashboard

DOCS = Path(__file__).parents[3] / "docs"
_NAME = re.compile(r"\b(?:casemate|process)_[a-z_]+\b")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every name that a scrape gives, of samples and of families, and its labels."""
    data = tmp_path_factory.mktemp("monitored") / "data"
    with a_house(data) as house:
        house.add("notes", fees=FEES)
        key = house.key(house.owner.principal.name)
    with a_server(data) as server:
        assert server.ask(DOG_TAX, key=key).status == 200
        told = server.http("GET", "/metrics").body.decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(told):
        found.setdefault(family.name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
            found[family.name] |= set(sample.labels)
        if family.type == "counter":  # also of those of which there is none yet
            found.setdefault(family.name + "_total", set())
    return found


def test_what_the_dashboard_names_exists(given: dict[str, set[str]]) -> None:
    made = json.loads((DOCS / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in made["panels"] for target in panel.get("targets", ())]
    names = {name for query in queries for name in _NAME.findall(query)}
    assert len(names) > 20
    assert names <= given.keys()


def test_the_dashboard_is_what_its_tool_writes() -> None:
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.text()


def test_what_the_alerts_name_exists_and_each_says_what_to_do(given: dict[str, set[str]]) -> None:
    rules = yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))
    (group,) = rules["groups"]
    for rule in group["rules"]:
        assert set(_NAME.findall(rule["expr"])) <= given.keys(), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_what_the_page_names_exists(given: dict[str, set[str]]) -> None:
    page = (DOCS / "how-to" / "monitor.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(casemate_[a-z_]+)`", page))
    assert len(names) > 20
    assert names <= given.keys()


def test_labels_are_what_administrators_name_and_never_a_person(
    given: dict[str, set[str]],
) -> None:
    labels = set().union(*(those for name, those in given.items() if name.startswith("casemate_")))
    assert labels <= {
        *("route", "method", "status", "use_case", "model", "outcome", "priority", "kind"),
        *("of", "measure", "window", "version", "le", "replica", "state"),
    }
