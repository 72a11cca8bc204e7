"""Every method of Mistral's package has an answer here: it is offered, or refused by its name."""

from __future__ import annotations

import httpx2
from mistralai.client import Mistral
from sdk_methods import answered, mistral_requests

OFFERED = {
    "agents": "complete stream",
    "batch.jobs": "cancel create delete get list",
    "beta.agents": "create delete get list list_pages update",
    "beta.conversations": "append append_stream delete get get_history get_messages list restart "
    "restart_stream start start_stream",
    "beta.libraries": "create delete get list",
    "beta.libraries.documents": "delete get list status text_content upload",
    "chat": "complete stream",
    "embeddings": "create",
    "files": "delete download list retrieve upload",
    "fim": "complete stream",
    "models": "list retrieve",
    "ocr": "process",
    "responses": "create",
}


def test_no_method_of_the_package_is_unknown(dialects):
    with (
        Mistral(api_key=dialects.key, server_url=dialects.mistral) as client,
        httpx2.Client(headers={"Authorization": f"Bearer {dialects.key}"}) as http,
    ):
        requests = mistral_requests(client)

        def ask(method: str, path: str) -> tuple[int, str]:
            answer = http.request(method, dialects.mistral + path)
            return answer.status_code, answer.text

        told = answered(ask, requests)
    assert len(requests) > 250
    assert not told["unknown"]
    expected = {f"{of}.{one}" for of, names in OFFERED.items() for one in names.split()}
    assert set(told["offered"]) == expected
