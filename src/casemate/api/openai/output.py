"""A run as the output of a response: items, and the events that tell of them one by one.

The same machine makes both, so that what was streamed is what is given whole. Items stay open
until the run ends: a model may think again after it has begun to write.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from casemate.api.openai.response import TokenShape, logprobs_of
from casemate.reasoning import event as run


class FileCitation(Struct, frozen=True, kw_only=True):
    """Where in the text (code points) a marker stands, and the document it points to.

    Beyond OpenAI's fields: the words that are cited, and where they stand in its text.
    """

    type: Literal["file_citation"] = "file_citation"
    file_id: str
    filename: str
    index: int
    start: int
    end: int
    quote: str


class OutputText(Struct, frozen=True, kw_only=True):
    """The words of the answer."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[FileCitation]
    logprobs: list[TokenShape]


class MessageItem(Struct, frozen=True, kw_only=True, tag="message"):
    """The assistant's message."""

    id: str
    role: Literal["assistant"] = "assistant"
    status: str
    content: list[OutputText]


class ReasoningText(Struct, frozen=True, kw_only=True):
    """What the model thought."""

    type: Literal["reasoning_text"] = "reasoning_text"
    text: str


class ReasoningItem(Struct, frozen=True, kw_only=True, tag="reasoning"):
    """The model's thinking, as it is; a summary of it is nowhere made."""

    id: str
    status: str
    summary: list[Any]
    content: list[ReasoningText]


class CallItem(Struct, frozen=True, kw_only=True, tag="function_call"):
    """A function of the asker's that is called."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: str


class Found(Struct, frozen=True, kw_only=True):
    """A passage that the run used."""

    file_id: str
    filename: str
    text: str
    attributes: dict[str, str]


class SearchItem(Struct, frozen=True, kw_only=True, tag="file_search_call"):
    """The searches of the run."""

    id: str
    status: str
    queries: list[str]
    results: list[Found] | UnsetType | None = UNSET


Item = MessageItem | ReasoningItem | CallItem | SearchItem
Told = list[tuple[str, dict[str, Any]]]
"""Events by type, with their fields."""


class Output:
    """Follows the events of one run. ``searching``: the asker wants to be told of searches."""

    def __init__(self, *, searching: bool, results: bool) -> None:
        self.items: list[Item] = []
        self._searching = searching
        self._results = results
        self._run = ""
        self._search: int | None = None
        self._reasoning: int | None = None
        self._message: int | None = None
        self._queries: list[str] = []
        self._thought = ""
        self._text = ""
        self._annotations = 0

    def tell(self, event: run.Event) -> Told:
        """What ``event`` adds."""
        match event:
            case run.Admitted():
                self._run = event.run
            case run.StepFinished() if event.step.kind == "search" and self._searching:
                return self._searched(event.step.subject)
            case run.Thinking():
                return self._think(event.text)
            case run.Text():
                return self._write(event)
            case run.Called():
                return self._call(event.call)
            case run.Finished():
                return self._finish(event)
        return []

    def _add(self, item: Item) -> tuple[int, Told]:
        self.items.append(item)
        index = len(self.items) - 1
        return index, [("response.output_item.added", {"output_index": index, "item": item})]

    def _done(self, index: int, item: Item) -> Told:
        self.items[index] = item
        return [("response.output_item.done", {"output_index": index, "item": item})]

    def _searched(self, query: str) -> Told:
        told: Told = []
        if self._search is None:
            id = f"fs_{self._run}"
            self._search, told = self._add(SearchItem(id=id, status="in_progress", queries=[]))
            where = {"output_index": self._search, "item_id": id}
            told.append(("response.file_search_call.in_progress", where))
            told.append(("response.file_search_call.searching", where))
        self._queries.append(query)
        return told

    def _think(self, text: str) -> Told:
        told: Told = []
        id = f"rs_{self._run}"
        if self._reasoning is None:
            item = ReasoningItem(id=id, status="in_progress", summary=[], content=[])
            self._reasoning, told = self._add(item)
            part = ReasoningText(text="")
            told.append(("response.content_part.added", self._part(self._reasoning, id, part)))
        self._thought += text
        where = {"output_index": self._reasoning, "item_id": id, "content_index": 0}
        return [*told, ("response.reasoning_text.delta", {**where, "delta": text})]

    def _write(self, text: run.Text) -> Told:
        told: Told = []
        id = f"msg_{self._run}"
        if self._message is None:
            item = MessageItem(id=id, status="in_progress", content=[])
            self._message, told = self._add(item)
            part = OutputText(text="", annotations=[], logprobs=[])
            told.append(("response.content_part.added", self._part(self._message, id, part)))
        self._text += text.text
        tokens = logprobs_of(text.tokens)
        delta = {
            "output_index": self._message,
            "item_id": id,
            "content_index": 0,
            "delta": text.text,
            "logprobs": [] if tokens is None else tokens.content,
        }
        return [*told, ("response.output_text.delta", delta)]

    def _call(self, call: run.Call) -> Told:
        id = f"fc_{self._run}_{len(self.items)}"

        def item(arguments: str, status: str) -> CallItem:
            return CallItem(
                id=id, call_id=call.id, name=call.name, arguments=arguments, status=status
            )

        index, told = self._add(item("", "in_progress"))
        where = {"output_index": index, "item_id": id}
        arguments = {**where, "arguments": call.arguments, "name": call.name}
        told += [
            ("response.function_call_arguments.delta", {**where, "delta": call.arguments}),
            ("response.function_call_arguments.done", arguments),
        ]
        return told + self._done(index, item(call.arguments, "completed"))

    def _finish(self, finished: run.Finished) -> Told:
        answer = finished.answer
        told: Told = []
        if self._search is not None:
            id = f"fs_{self._run}"
            found = [
                Found(
                    file_id=source.document_id,
                    filename=source.document,
                    text=source.text,
                    attributes={},
                )
                for source in answer.sources
            ]
            where = {"output_index": self._search, "item_id": id}
            told.append(("response.file_search_call.completed", where))
            item = SearchItem(
                id=id,
                status="completed",
                queries=self._queries,
                results=found if self._results else None,
            )
            told += self._done(self._search, item)
        if self._reasoning is not None:
            told += self._end_reasoning(self._reasoning)
        if self._message is None and not answer.calls:
            told += self._write(run.Text(text=answer.text))
        if self._message is not None:
            told += self._end_message(self._message, finished)
        return told

    def _end_reasoning(self, index: int) -> Told:
        id, part = f"rs_{self._run}", ReasoningText(text=self._thought)
        where = {"output_index": index, "item_id": id, "content_index": 0}
        item = ReasoningItem(id=id, status="completed", summary=[], content=[part])
        return [
            ("response.reasoning_text.done", {**where, "text": self._thought}),
            ("response.content_part.done", self._part(index, id, part)),
            *self._done(index, item),
        ]

    def _end_message(self, index: int, finished: run.Finished) -> Told:
        id = f"msg_{self._run}"
        tokens = logprobs_of(finished.tokens)
        part = OutputText(
            text=self._text,
            annotations=citations_of(finished.answer),
            logprobs=[] if tokens is None else tokens.content,
        )
        where = {"output_index": index, "item_id": id, "content_index": 0}
        told: Told = [
            (
                "response.output_text.annotation.added",
                {**where, "annotation_index": number, "annotation": one},
            )
            for number, one in enumerate(part.annotations)
        ]
        done = {**where, "text": part.text, "logprobs": part.logprobs}
        return [
            *told,
            ("response.output_text.done", done),
            ("response.content_part.done", self._part(index, id, part)),
            *self._done(index, MessageItem(id=id, status="completed", content=[part])),
        ]

    def _part(self, index: int, id: str, part: OutputText | ReasoningText) -> dict[str, Any]:
        return {"output_index": index, "item_id": id, "content_index": 0, "part": part}


def citations_of(answer: run.Answer) -> list[FileCitation]:
    """Each citation of each sentence, at the end of the sentence that it supports."""
    found = []
    for sentence in answer.sentences:
        for index in sentence.citations:
            cited = answer.citations[index]
            source = answer.sources[cited.source]
            found.append(
                FileCitation(
                    file_id=source.document_id,
                    filename=source.document,
                    index=sentence.end,
                    start=cited.start,
                    end=cited.end,
                    quote=cited.quote,
                )
            )
    return found


def events_of(finished: run.Finished) -> list[run.Event]:
    """A run that has ended, as the events that it could have been told by."""
    answer = finished.answer
    searches = [step for step in finished.steps if step.kind == "search"]
    return [
        run.Admitted(run=finished.run, use_case="", model="", entry=0),
        *(run.StepFinished(number=1, step=step) for step in searches),
        *([run.Thinking(text=answer.thinking)] if answer.thinking else []),
        *([run.Text(text=answer.text)] if answer.text else []),
        *(run.Called(call=call) for call in answer.calls),
        finished,
    ]
