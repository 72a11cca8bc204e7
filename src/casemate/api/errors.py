"""Errors as programs read them: one fact and one next step, in the shape each dialect expects.

``/v1`` answers in OpenAI's shape, ``/mistral`` in Mistral's, ``/scim`` in SCIM's, everything else
here in Casemate's own. What nobody foresaw becomes a plain sentence for the caller and one line
without content for the operator's log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from casemate.errors import CasemateError, Invalid, NotFound, Unavailable, Unsupported

Dialect = Callable[[CasemateError], Response]

_log = logging.getLogger("casemate.api")

# OpenAI's "type" and "code" for each status; their own where they have one.
_OPENAI = {
    400: ("invalid_request_error", "invalid_request"),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("request_forbidden", "permission_denied"),
    404: ("invalid_request_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    409: ("invalid_request_error", "conflict"),
    413: ("invalid_request_error", "request_too_large"),
    415: ("invalid_request_error", "unsupported_file"),
    429: ("requests", "rate_limit_exceeded"),
    501: ("invalid_request_error", "unsupported"),
    502: ("server_error", "bad_gateway"),
    503: ("server_error", "unavailable"),
    504: ("server_error", "timeout"),
}
_RETRY_SECONDS = 1  # where the error does not know when it makes sense
_PATIENCE_SECONDS = 60  # after which no program should wait by itself


class OpenAIProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, as OpenAI says it."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(msgspec.Struct, frozen=True, kw_only=True):
    """How every error of ``/v1`` looks."""

    error: OpenAIProblem


class MistralError(msgspec.Struct, frozen=True, kw_only=True):
    """How every error of ``/mistral`` looks; a wrong parameter has ``detail``."""

    what: str
    next: str
    detail: list[dict[str, Any]] | None = None
    object: str | None = None
    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | None = None
    raw_status_code: int | None = None


class MethodNotAllowed(CasemateError):
    """The address exists, but not for this method."""

    status = 405

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allow = ", ".join(sorted(allowed))
        super().__init__("This address does not take that method.", f"Use {self.allow}.")


class InvalidParameter(Invalid):
    """One parameter is wrong or cannot be honoured; ``param`` names it."""

    def __init__(self, param: str, what: str, next: str = "", code: str = "invalid_value") -> None:
        super().__init__(what, next)
        self.param = param
        self.code = code


class ScimProblem(Invalid):
    """Something that SCIM has a word of its own for: ``scim_type`` (RFC 7644, section 3.12)."""

    def __init__(self, what: str, next: str, scim_type: str) -> None:
        super().__init__(what, next)
        self.scim_type = scim_type


class UnknownModel(NotFound):
    """No use case that the caller may use is offered under this model id."""

    param = "model"
    code = "model_not_found"


class Unexpected(CasemateError):
    """A fault of ours, told without its details."""

    def __init__(self) -> None:
        super().__init__(
            "Something went wrong here; the request is not to blame.",
            "Try again. If it happens again, tell the operator when it did.",
        )


class _Refusal(CasemateError):
    """An error the HTTP layer below raised, with its status."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what, "Correct the request.")
        self.status = status


def known(problem: Exception) -> CasemateError:
    """The error to show for ``problem``; what is our fault is logged by kind and place."""
    if isinstance(problem, CasemateError):
        if problem.status >= 500 and not isinstance(problem, Unsupported):
            _log.error("%s at %s", type(problem).__name__, _place(problem))
        return problem
    if isinstance(problem, HTTPException):
        if problem.status_code == 404:
            return nowhere()
        return _Refusal(problem.status_code, f"{problem.detail.rstrip('.')}.")
    # Neither message nor arguments: an exception's text may quote a prompt or a document.
    _log.error("unexpected %s at %s", type(problem).__name__, _place(problem))
    return Unexpected()


def nowhere() -> NotFound:
    """The error for an address that nothing answers."""
    return NotFound(
        "There is nothing at this address.",
        "GET /v1/models and GET /api/openapi.json say what is offered.",
    )


def stopping() -> Unavailable:
    """The error for what a server that is being stopped cannot finish."""
    return Unavailable("The server is being stopped.", "Ask again in a moment.")


def openai_body(problem: CasemateError) -> bytes:
    """``problem`` as the JSON that OpenAI's clients read."""
    kind, code = _OPENAI.get(problem.status, ("server_error", "internal_error"))
    param = getattr(problem, "param", None)
    error = {
        "message": str(problem),
        "type": kind,
        "param": param,
        "code": getattr(problem, "code", code),
    }
    return msgspec.json.encode({"error": error})


def mistral_body(problem: CasemateError) -> bytes:
    """``problem`` as the JSON that Mistral's clients read; ``what`` and ``next`` beside it.

    A wrong parameter is told as FastAPI tells it, which is what their status 422 stands for.
    """
    told: dict[str, object] = {"what": problem.what, "next": problem.next}
    param = _parameter(problem)
    if param is not None:
        place = [getattr(problem, "within", "body"), *_steps(param)]
        kind = getattr(problem, "code", "invalid_value")
        told["detail"] = [{"type": kind, "loc": place, "msg": str(problem)}]
    else:
        kind, code = _OPENAI.get(problem.status, ("server_error", "internal_error"))
        told |= {
            "object": "error",
            "message": str(problem),
            "type": kind,
            "param": getattr(problem, "param", None),
            "code": getattr(problem, "code", code),
            "raw_status_code": problem.status,
        }
    return msgspec.json.encode(told)


def platform_body(problem: CasemateError) -> bytes:
    """``problem`` as Casemate's own JSON."""
    return msgspec.json.encode({"error": {"what": problem.what, "next": problem.next}})


def scim_body(problem: CasemateError) -> bytes:
    """``problem`` as the JSON that SCIM's clients read (RFC 7644, section 3.12)."""
    told: dict[str, object] = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(problem.status),
        "detail": str(problem),
    }
    kind = {400: "invalidValue", 409: "uniqueness"}.get(problem.status)
    if kind := getattr(problem, "scim_type", kind):
        told["scimType"] = kind
    return msgspec.json.encode(told)


def openai(problem: CasemateError) -> Response:
    """``problem`` as a response of ``/v1``."""
    return _response(problem, openai_body(problem))


def mistral(problem: CasemateError) -> Response:
    """``problem`` as a response of ``/mistral``."""
    response = _response(problem, mistral_body(problem))
    if _parameter(problem) is not None:
        response.status_code = 422
    return response


def platform(problem: CasemateError) -> Response:
    """``problem`` as a response of ``/api``, ``/ledger`` and the operator's addresses."""
    return _response(problem, platform_body(problem))


def scim(problem: CasemateError) -> Response:
    """``problem`` as a response of ``/scim``."""
    return _response(problem, scim_body(problem), "application/scim+json")


def dialect_of(path: str) -> Dialect:
    """How errors are written at ``path``."""
    if _below(path, "/mistral"):
        return mistral
    if _below(path, "/scim"):
        return scim
    return openai if _below(path, "/v1") else platform


def belongs(path: str) -> bool:
    """Whether ``path`` is for programs, so that errors there are JSON and never a page."""
    machines = ("/v1", "/mistral", "/api", "/scim", "/ledger", "/healthz", "/readyz", "/metrics")
    return any(_below(path, prefix) for prefix in machines)


def response(request: Request, problem: Exception) -> Response:
    """Any exception as a response, in the dialect of the path: for the application's handlers."""
    return dialect_of(request.url.path)(known(problem))


def _parameter(problem: CasemateError) -> str | None:
    """The parameter that is wrong, or that the model cannot honour."""
    return getattr(problem, "param", None) if isinstance(problem, Invalid) else None


def _steps(param: str) -> list[str | int]:
    # "messages[0].content" → messages, 0, content
    steps = re.findall(r"[^.\[\]]+", param)
    return [int(step) if step.isdecimal() else step for step in steps]


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _response(problem: CasemateError, body: bytes, media: str = "application/json") -> Response:
    headers = {}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    wait = getattr(problem, "retry_after", _RETRY_SECONDS)
    if problem.status in (429, 503):
        headers["Retry-After"] = str(wait)
    if problem.status in (500, 501, 504) or (problem.status == 429 and wait > _PATIENCE_SECONDS):
        # OpenAI's clients repeat every 5xx and 429; these would only fail again, as further runs.
        headers["X-Should-Retry"] = "false"
    if isinstance(problem, MethodNotAllowed):
        headers["Allow"] = problem.allow
    return Response(body, problem.status, headers, media)


def _place(problem: BaseException) -> str:
    trace = problem.__traceback__
    if trace is None:
        return "an unknown place"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
