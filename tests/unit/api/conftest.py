"""Builders for the face over an installation in memory."""

from __future__ import annotations

import pytest
from fake_installation import KEY, FakeInstallation, an_application
from starlette.testclient import TestClient


@pytest.fixture
def installation():
    return FakeInstallation()


@pytest.fixture
def app(installation):
    return an_application(installation)


@pytest.fixture
def client(app):
    """Somebody with a key."""
    return TestClient(app, headers={"Authorization": f"Bearer {KEY}"})


@pytest.fixture
def stranger(app):
    """Somebody without one."""
    return TestClient(app)
