from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace

import hypothesis.strategies as st
import pytest
from fake_installation import BOUND_KEY, QUOTE, SESSION, TEXT, a_run, a_source, fresh, replaced
from hypothesis import given

from casemate.api.mistral import response as shapes
from casemate.api.mistral.elsewhere import NOT_OFFERED
from casemate.errors import Refused, Unavailable
from casemate.models.profile import Profile
from casemate.reasoning.event import Answer, Citation, Request, Sentence, Step

CHAT = "/mistral/v1/chat/completions"
MIDDLE = len("“The fee is 20 euros.” [1]")


@pytest.fixture(autouse=True)
def models(installation):
    """Two models: one that quotes, and one that thinks."""

    def a_model(id, profile=None, length=None):
        manifest = SimpleNamespace(
            profile=profile, context_length=length, engine="llama", fills=None
        )
        return SimpleNamespace(id=id, manifest=manifest)

    large = a_model("org/large", Profile(thinking="tokens"), 8192)
    installation.models = SimpleNamespace(list=lambda caller: [a_model("quote"), large])


def a_chat(**changes):
    return {
        "model": "documents",
        "messages": [{"role": "user", "content": "What is the fee?"}],
        **changes,
    }


def chunks(response):
    *frames, done = response.text.strip().split("\n\n")
    assert done == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def contents(told):
    return [one["choices"][0]["delta"].get("content") for one in told]


def asked_with(client, installation, *messages):
    response = client.post(CHAT, json=a_chat(messages=list(messages)))
    assert response.status_code == 200, response.text
    return installation.asked[-1]


def test_models_are_those_of_the_other_dialect_with_capabilities(client):
    cards = client.get("/mistral/v1/models").json()["data"]
    assert [card["id"] for card in cards] == [
        model["id"] for model in client.get("/v1/models").json()["data"]
    ]
    large = cards[-1]
    assert large["capabilities"]["reasoning"]
    assert large["max_context_length"] == 8192
    assert large["description"] == "Questions about documents"
    assert not cards[0]["capabilities"]["reasoning"]
    assert "max_context_length" not in cards[0]


def test_one_model_is_found_by_its_id_with_slashes(client):
    card = client.get("/mistral/v1/models/letters%2Forg%2Flarge").json()
    assert (card["id"], card["type"]) == ("letters/org/large", "base")


def test_models_are_offered_to_those_who_may_not_see_how_they_are_made(client, installation):
    def refuse(caller):
        raise Refused("You may not list models.", "Ask an administrator.")

    installation.models = SimpleNamespace(list=refuse)
    cards = client.get("/mistral/v1/models").json()["data"]
    assert len(cards) == 4
    assert not any(card["capabilities"]["reasoning"] for card in cards)


def test_a_key_for_one_use_case_reaches_only_that(stranger):
    bound = {"Authorization": f"Bearer {BOUND_KEY}"}
    cards = stranger.get("/mistral/v1/models", headers=bound).json()["data"]
    assert {card["id"].split("/")[0] for card in cards} == {"letters"}
    refused = stranger.post(CHAT, json=a_chat(), headers=bound)
    assert (refused.status_code, refused.json()["code"]) == (404, "model_not_found")


def test_a_session_does_not_open_the_dialect_of_programs(stranger):
    stranger.cookies.set("casemate_session", SESSION)
    assert stranger.get("/mistral/v1/models").status_code == 401


def test_a_completion_has_text_and_references_in_turn(client, installation):
    installation.settings = replaced(installation.settings, public_url="https://ai.example/")
    response = client.post(CHAT, json=a_chat())
    said = response.json()
    assert response.headers["x-casemate-run"] == said["id"] == "r1"
    assert said["choices"][0]["message"]["content"] == [
        {"type": "text", "text": TEXT[:MIDDLE]},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": TEXT[MIDDLE:]},
        {"type": "reference", "reference_ids": [2]},
    ]
    assert said["choices"][0]["finish_reason"] == "stop"
    first, second = said["casemate"]["references"]
    assert (first["id"], first["name"], first["page"]) == (1, "fees.pdf", 2)
    assert first["text"] == QUOTE + " It falls due in May."
    assert first["quotations"] == [
        {
            "start": 100,
            "end": 120,
            "quote": QUOTE,
            "url": "https://ai.example/documents/d1?start=100&end=120",
        }
    ]
    assert (second["id"], second["name"]) == (2, "dues.md")
    assert said["casemate"]["receipt"] == "/api/runs/r1/receipt"


def test_thinking_is_a_list_of_text_chunks_before_the_answer(client, installation):
    installation.script = a_run(Request(question=""), thinking="Let me see.")
    content = client.post(CHAT, json=a_chat()).json()["choices"][0]["message"]["content"]
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]}
    assert content[0] == thinking
    assert [thinking] in contents(chunks(client.post(CHAT, json=a_chat(stream=True))))


def test_an_answer_without_citations_or_thinking_is_a_plain_string(client, installation):
    *_, finished = a_run(Request(question=""))
    answer = replaced(finished.answer, sentences=(), citations=(), sources=(), text="Nothing.")
    last = replaced(finished, answer=answer, outcome="unanswered")
    installation.script = [*a_run(Request(question=""))[:1], last]
    assert client.post(CHAT, json=a_chat()).json()["choices"][0]["message"]["content"] == "Nothing."
    told = chunks(client.post(CHAT, json=a_chat(stream=True)))
    assert "".join(contents(told)) == "Nothing."


def test_a_stream_goes_through_the_same_chunks_and_ends_with_usage(client):
    response = client.post(CHAT, json=a_chat(stream=True))
    assert response.headers["x-casemate-run"] == "r1"
    told = chunks(response)
    assert told[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    # the script of the fake cites once, before its first text
    assert contents(told)[1:-1] == [
        TEXT[:MIDDLE],
        [{"type": "reference", "reference_ids": [1]}],
        TEXT[MIDDLE:],
    ]
    last = told[-1]["choices"][0]
    assert last["finish_reason"] == "stop"
    assert last["delta"]["metadata"]["casemate"]["run"] == "r1"
    assert told[-1]["usage"]["prompt_tokens"] == 4
    assert all("usage" not in one for one in told[:-1])


def an_answer_of(pieces):
    """What a run shows for these sentences: before each, its words, the numbers it cites."""
    text, sentences, citations = "", [], []
    for before, words, numbers in pieces:
        start = len(text) + len(before)
        cites = range(len(citations), len(citations) + len(numbers))
        citations += [Citation(number=n, source=n - 1, start=0, end=1, quote="q") for n in numbers]
        markers = "".join(f" [{number}]" for number in dict.fromkeys(numbers))
        text += before + words + markers
        sentences.append(Sentence(start=start, end=start + len(words), citations=tuple(cites)))
    return Answer(
        text=text,
        language="en",
        sentences=tuple(sentences),
        citations=tuple(citations),
        sources=(a_source(), a_source("d2"), a_source("d3")),
    )


WORDS = st.text(alphabet="ab [1]2.\n", max_size=12)
PIECES = st.lists(st.tuples(WORDS, WORDS, st.lists(st.integers(1, 3), max_size=3)), max_size=5)


@given(PIECES)
def test_text_chunks_joined_are_the_answer_and_references_follow_their_words(pieces):
    content = shapes.content_of(an_answer_of(pieces))
    chunks = [shapes.TextChunk(text=content)] if isinstance(content, str) else content
    texts = [chunk.text for chunk in chunks if isinstance(chunk, shapes.TextChunk)]
    numbers = [chunk.reference_ids for chunk in chunks if isinstance(chunk, shapes.ReferenceChunk)]
    assert "".join(texts) == an_answer_of(pieces).text
    assert numbers == [list(dict.fromkeys(cited)) for _, _, cited in pieces if cited]
    for text, chunk in pairwise(chunks):
        if isinstance(chunk, shapes.ReferenceChunk):
            assert text.text.endswith("".join(f" [{number}]" for number in chunk.reference_ids))


@given(PIECES)
def test_every_number_leads_to_one_reference_with_all_its_quotations(pieces):
    answer = an_answer_of(pieces)
    found = shapes.references_of(answer, "")
    cited = [number for _, _, numbers in pieces for number in numbers]
    assert [one.id for one in found] == sorted(set(cited))
    assert sum(len(one.quotations) for one in found) == len(cited)


@pytest.mark.parametrize(
    ("bound", "reason"), [("tokens", "length"), ("time", "stop"), ("rounds", "stop")]
)
def test_only_the_bound_of_tokens_is_a_length(client, installation, bound, reason):
    *events, finished = a_run(Request(question=""))
    limited = replaced(finished, steps=(Step(kind="limit", subject=bound),))
    installation.script = [*events, limited]
    assert client.post(CHAT, json=a_chat()).json()["choices"][0]["finish_reason"] == reason
    told = chunks(client.post(CHAT, json=a_chat(stream=True)))
    assert told[-1]["choices"][0]["finish_reason"] == reason


def test_a_stream_that_breaks_off_says_so_in_a_chunk_that_clients_can_read(client, installation):
    problem = Unavailable("The model stopped.", "Ask again.")
    installation.script = [*a_run(Request(question=""))[:3], problem]
    last = chunks(client.post(CHAT, json=a_chat(stream=True)))[-1]["choices"][0]
    assert last["finish_reason"] == "error"
    told = {"what": "The model stopped.", "next": "Ask again."}
    assert last["delta"]["metadata"]["error"] == told


def test_the_last_user_message_is_the_question_and_the_rest_history(client, installation):
    think = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    answer = [
        think,
        {"type": "text", "text": "Twenty. [1]"},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": " In May."},
        {"type": "UNKNOWN", "raw": {"type": "later"}, "is_unknown": True},
    ]
    asked = asked_with(
        client,
        installation,
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}, think]},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": answer, "prefix": False, "tool_calls": None},
        {"role": "user", "content": [{"type": "text", "text": "Since"}, {"text": "when?"}]},
    )
    assert asked.question == "Since\nwhen?"
    assert asked.history == (
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "Twenty. [1] In May."),
    )


def test_an_answer_sent_back_as_it_came_is_the_answer_to_the_letter(client, installation):
    message = client.post(CHAT, json=a_chat()).json()["choices"][0]["message"]
    asked = asked_with(client, installation, message, {"role": "user", "content": "And?"})
    assert asked.history == (("assistant", TEXT),)


def test_sampling_reaches_the_run(client, installation):
    body = a_chat(random_seed=7, temperature=0.5, top_p=0.9, max_tokens=5)
    client.post(CHAT, json=body)
    asked = installation.asked[0]
    assert (asked.seed, asked.temperature, asked.top_p, asked.max_tokens) == (7, 0.5, 0.9, 5)


@pytest.mark.parametrize(
    "kind", ["image_url", "document_url", "file", "input_audio", "resource", "new"]
)
def test_what_a_user_shows_and_nobody_here_can_see_is_refused_by_name(client, kind):
    messages = [{"role": "user", "content": [{"type": kind}]}]
    refused = client.post(CHAT, json=a_chat(messages=messages))
    assert refused.status_code == 422
    (detail,) = refused.json()["detail"]
    assert detail["loc"] == ["body", "messages", 0, "content", 0]
    assert kind in detail["msg"]


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([{"role": "tool", "content": "x"}], ["messages", 0, "tool_call_id"]),
        ([{"role": "tool", "content": "x", "tool_call_id": "1"}], ["messages"]),
        (
            [{"role": "assistant", "tool_calls": [{"id": "1"}]}],
            ["messages", 0, "tool_calls", 0, "function"],
        ),
        ([{"role": "system", "content": "x"}], ["messages"]),
        ([{"role": "judge", "content": "x"}], ["messages", 0, "role"]),
        ([], ["messages"]),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "prefix": True}], ["messages"]),
    ],
)
def test_a_conversation_that_is_no_question_is_a_validation_error(client, messages, place):
    refused = client.post(CHAT, json=a_chat(messages=messages))
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", *place]
    assert refused.json()["next"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt_mode", "poetry"),
        ("response_format", {"type": "json_schema"}),
        ("tools", [{"type": "web_search"}]),
        ("tool_choice", {"type": "else"}),
        ("repetition_penalty", 1.2),
        ("min_tokens", 4),
        ("prompt_logprobs", True),
        ("n", True),
    ],
)
def test_what_would_change_the_meaning_is_refused_by_name(client, installation, name, value):
    refused = client.post(CHAT, json=a_chat(**{name: value}))
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", name]
    assert not installation.asked


def test_a_library_to_search_in_is_a_collection_of_the_run(client, installation):
    tool = {"type": "document_library", "library_ids": ["c1"]}
    assert client.post(CHAT, json=a_chat(tools=[tool])).status_code == 200
    assert installation.asked[0].collections == ("town",)
    client.post(CHAT, json=a_chat(tools=[]))
    assert installation.asked[1].collections == ()


def test_a_library_that_the_caller_may_not_read_is_absent(client, installation):
    tool = {"type": "document_library", "library_ids": ["c1", "c9"]}
    absent = client.post(CHAT, json=a_chat(tools=[tool]))
    assert absent.status_code == 404
    assert "/mistral/v1/libraries" in absent.json()["next"]
    assert not installation.asked


@pytest.mark.parametrize("status", [403, 404, 413, 429])
def test_a_refusal_of_the_run_keeps_its_status_in_a_stream_too(client, installation, status):
    for stream in (False, True):
        installation.script = [fresh(status)]
        refused = client.post(CHAT, json=a_chat(stream=stream))
        told = refused.json()
        assert refused.status_code == told["raw_status_code"] == status
        assert told["object"] == "error"
        assert told["message"] == f"{told['what']} {told['next']}"


def test_a_body_that_is_no_json_is_refused_in_the_dialect(client):
    refused = client.post(CHAT, content=b"{")
    assert (refused.status_code, refused.json()["object"]) == (400, "error")


@pytest.mark.parametrize("place", NOT_OFFERED)
def test_what_is_not_offered_says_so_for_every_method(client, place):
    only, _, path = place.replace("{model:path}", "x/y").rpartition(" ")
    asked = [("GET", path), ("POST", path), ("DELETE", f"{path}/x/y")]
    for method, address in [(only, path)] if only else asked:
        told = client.request(method, f"/mistral{address}")
        assert told.status_code == 501
        assert "not supported here" in told.json()["what"]
        assert told.json()["next"]


def test_any_other_address_and_method_is_answered_in_the_dialect(client):
    for path in ("/mistral", "/mistral/v1", "/mistral/v1/nothing", "/mistral/models"):
        absent = client.get(path)
        assert (absent.status_code, absent.json()["object"]) == (404, "error")
    wrong = client.get(CHAT)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["what"]


LIBRARIES = "/mistral/v1/libraries"


def test_collections_are_libraries(client):
    told = client.get(LIBRARIES).json()
    (library,) = told["data"]
    assert (library["id"], library["name"], library["nb_documents"]) == ("c1", "town", 1)
    assert library["description"] == "Label: U"
    assert told["pagination"]["total_items"] == 1
    assert told["next_page_token"] is None
    assert client.get(f"{LIBRARIES}/c1").json() == library
    assert client.get(LIBRARIES, params={"search": "TOW"}).json()["data"] == [library]
    assert client.get(LIBRARIES, params={"search": "x"}).json()["data"] == []


def test_a_library_is_made_with_its_name(client):
    made = client.post(LIBRARIES, json={"name": "new", "description": "About things."})
    assert made.status_code == 201
    assert (made.json()["name"], made.json()["nb_documents"]) == ("new", 0)
    assert client.post(LIBRARIES, json={"name": "town"}).status_code == 409


@pytest.mark.parametrize(("name", "value"), [("owner_type", "User"), ("chunk_size", 512)])
def test_a_library_is_not_made_otherwise_than_it_was_meant(client, name, value):
    refused = client.post(LIBRARIES, json={"name": "new", name: value})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", name]


def test_documents_come_in_pages_in_the_order_that_was_asked_for(client, installation):
    for name in ("a.md", "c.md", "b.md"):
        installation.library.add(None, "town", name, b"x")
    query = {"sort_by": "name", "sort_order": "asc", "page_size": 2, "page": 1}
    told = client.get(f"{LIBRARIES}/c1/documents", params=query).json()
    assert [one["name"] for one in told["data"]] == ["c.md", "fees.pdf"]
    assert told["pagination"] == {
        "total_items": 4,
        "total_pages": 2,
        "current_page": 1,
        "page_size": 2,
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page_size", "0"),
        ("page_size", "many"),
        ("page", "-1"),
        ("sort_by", "mood"),
        ("sort_order", "up"),
        ("filters_attributes", "{}"),
    ],
)
def test_a_wrong_parameter_of_the_address_is_told_as_one(client, name, value):
    refused = client.get(f"{LIBRARIES}/c1/documents", params={name: value})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["query", name]


def test_a_document_is_uploaded_read_and_deleted(client):
    documents = f"{LIBRARIES}/c1/documents"
    made = client.post(documents, files={"file": ("é.txt", b"x")})
    assert (made.status_code, made.json()["name"]) == (201, "é.txt")
    assert (made.json()["extension"], made.json()["library_id"]) == ("txt", "c1")
    at = f"{documents}/{made.json()['id']}"
    assert client.get(at).json() == made.json()
    assert client.get(f"{at}/status").json()["process_status"] == "done"
    assert client.delete(at).status_code == 204
    assert client.get(at).status_code == 404
    assert client.get(f"{documents}/d1/text_content").json() == {"text": "The fee is 20 euros."}


def test_a_part_of_the_text_is_refused_rather_than_guessed(client):
    at = f"{LIBRARIES}/c1/documents/d1/text_content"
    refused = client.get(at, params={"page_start": 1})
    assert refused.json()["detail"][0]["loc"] == ["query", "page_start"]


def test_a_form_without_a_file_is_a_validation_error(client):
    refused = client.post(f"{LIBRARIES}/c1/documents", data={"other": "x"})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "file"]


def test_a_document_may_not_be_larger_than_is_accepted(client, installation):
    installation.settings = replaced(installation.settings, upload_mebibytes=1)
    files = {"file": ("big.txt", b"x" * (1024 * 1024 + 1))}
    refused = client.post(f"{LIBRARIES}/c1/documents", files=files)
    assert (refused.status_code, refused.json()["object"]) == (413, "error")


def test_who_may_not_add_is_refused_in_the_dialect(client):
    refused = client.post(f"{LIBRARIES}/c1/documents", files={"file": ("secret.pdf", b"x")})
    assert (refused.status_code, refused.json()["raw_status_code"]) == (403, 403)


@pytest.mark.parametrize("path", ["/c9", "/c9/documents", "/c9/documents/d1", "/c1/documents/d9"])
def test_what_the_caller_may_not_read_is_absent(client, path):
    assert client.get(LIBRARIES + path).status_code == 404


def test_a_document_is_found_only_in_its_own_library(client, installation):
    both = [
        SimpleNamespace(id=id, name=name, label="U")
        for id, name in (("c1", "town"), ("c2", "moon"))
    ]
    installation.library.collections = lambda caller: both
    assert client.get(f"{LIBRARIES}/c1/documents/d1").status_code == 200
    for method in ("GET", "DELETE"):
        assert client.request(method, f"{LIBRARIES}/c2/documents/d1").status_code == 404
    assert client.get(f"{LIBRARIES}/c1/documents/d1").status_code == 200
