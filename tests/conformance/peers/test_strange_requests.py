"""A short version of campaigns/schemathesis.py: strange requests at every described address."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from dialect_house import a_running_server, furnished
from upstream import Upstream

CAMPAIGN = Path(__file__).resolve().parents[3] / "campaigns" / "schemathesis.py"


@pytest.fixture(scope="module")
def campaign():
    spec = importlib.util.spec_from_file_location("schemathesis_campaign", CAMPAIGN)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def attacked(campaign, tmp_path_factory):
    """A server of its own: what strange requests leave is nobody else's."""
    folder = tmp_path_factory.mktemp("strange") / "data"
    with Upstream() as upstream:
        key, _ = furnished(folder, upstream)
        with a_running_server(folder) as url:
            yield url, key, campaign.names_at(url, key)


@pytest.mark.parametrize("face", ["openai", "mistral", "platform"])
def test_no_request_breaks_a_server_or_its_description(peers, campaign, attacked, tmp_path, face):
    url, key, names = attacked
    tried = campaign.attack(
        peers / "schemathesis",
        url,
        face,
        key,
        examples=8,
        seed=7,
        log=tmp_path / "log.ndjson",
        names=names,
        phases="fuzzing,stateful",
    )
    assert tried.cases > 100, tried.said
    assert tried.good, tried.said
