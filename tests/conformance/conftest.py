"""``dialects``: an installation that is asked by clients that others wrote."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dialect_house import Dialects, a_running_server, furnished
from upstream import Upstream


@pytest.fixture(scope="session")
def dialects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dialects]:
    folder = tmp_path_factory.mktemp("dialects") / "data"
    with Upstream() as upstream:
        key, others_key = furnished(folder, upstream)
        with a_running_server(folder) as url:
            yield Dialects(url, key, others_key, folder, upstream)
