"""What identity providers tell this installation, under ``/api``."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from casemate.api.resource import Face
from casemate.errors import Invalid
from casemate.gate.sign_in_refusal import Untrusted

_FORM = "application/x-www-form-urlencoded"


async def logout(face: Face, request: Request) -> Response:
    """A provider's back-channel logout: a form with a `logout_token`, which is all it takes.

    Ends the sessions it names at once. OpenID Connect Back-Channel Logout 1.0, section 2.5.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Invalid("This address takes a form.", f"Send {_FORM}.")
    try:
        given = parse_qs((await request.body()).decode("ascii"), max_num_fields=20)
    except ValueError:
        raise Invalid("The form could not be read.", f"Send {_FORM}.") from None
    tokens = given.get("logout_token", [])
    if len(tokens) != 1:
        raise Invalid("The form has no logout_token, or several.", "Send one.")
    try:
        await face.installation.gate.sign_ins.end(request.path_params["name"], tokens[0])
    except Untrusted as problem:
        # Section 2.8 wants 400 for a token that is not good.
        raise Invalid(problem.what, problem.next) from None
    return Response(status_code=200)
