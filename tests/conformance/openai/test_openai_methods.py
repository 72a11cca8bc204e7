"""Every method of OpenAI's package has an answer here: it is offered, or refused by its name."""

from __future__ import annotations

import httpx2
import openai
from sdk_methods import answered, openai_requests

OFFERED = {
    "batches": "cancel create list retrieve",
    "chat.completions": "create",
    "completions": "create",
    "conversations": "create delete retrieve update",
    "conversations.items": "create delete list retrieve",
    "embeddings": "create",
    "files": "content create delete list retrieve",
    "models": "list retrieve",
    "responses": "cancel create delete retrieve input_items.list",
    "vector_stores": "create delete list retrieve search",
    "vector_stores.file_batches": "cancel create list_files retrieve",
    "vector_stores.files": "content create delete list retrieve",
}


def test_no_method_of_the_package_is_unknown(dialects):
    with (
        openai.OpenAI(base_url=dialects.openai, api_key=dialects.key) as client,
        httpx2.Client(headers={"Authorization": f"Bearer {dialects.key}"}) as http,
    ):
        requests = openai_requests(client)

        def ask(method: str, path: str) -> tuple[int, str]:
            answer = http.request(method, dialects.openai + path)
            return answer.status_code, answer.text

        told = answered(ask, requests)
    assert len(requests) > 300
    assert not told["unknown"]
    # Other methods do the same as one of these, under another name or in several steps.
    expected = {f"{of}.{one}" for of, names in OFFERED.items() for one in names.split()}
    assert {requests[name] for name in told["offered"]} == {requests[one] for one in expected}
