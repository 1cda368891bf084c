"""One table from what can go wrong to what the client is told."""

from __future__ import annotations

import math
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from service.email.edits import StaleRevision
from service.email.faults import Fault, InvalidRequest
from service.email.life import WrongState
from service.email.record import Status
from service.email.strict_json import InvalidJson
from service.recurring.schedules import ScheduleNotFound, StaleSchedule
from service.routes.body import BodyTooLarge, UnsupportedMedia
from service.routes.emails.idempotency import KeyInUse
from service.routes.memory import Crowded
from service.routes.refusals import Forbidden, NotAllowed, TooManyRequests, Unauthorized
from service.routes.reply import problem
from service.store.errors import EmailNotFound, KeyReused, StoreDamaged, StoreUnavailable
from service.templating.library import StaleVersion, TemplateNotFound
from service.webhooks.registry import MOST, TooManyWebhooks, WebhookNotFound

_RETRY_AFTER = {"Retry-After": "5"}
_WHY = {
    Status.SCHEDULED: "it has been tried already",
    Status.RETRYING: "it has been tried already",
    Status.SENDING: "it is being sent",
    Status.COMPLETED: "it has been sent",
    Status.FAILED: "it has failed",
    Status.CANCELLED: "it is cancelled",
}


def _invalid_json(_request: Request, error: Exception) -> Response:
    return problem(400, "invalid_json", f"Nothing was accepted: {error}.")


def _invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidRequest)
    count = len(error.faults)
    what = "One field is wrong" if count == 1 else f"{count} fields are wrong"
    return problem(422, "invalid_request", f"{what}; nothing was done.", faults=error.faults)


def _not_found(_request: Request, _error: Exception) -> Response:
    return problem(404, "email_not_found", "There is no e-mail with this id.")


def _no_webhook(_request: Request, _error: Exception) -> Response:
    return problem(404, "webhook_not_found", "There is no webhook with this id.")


def _too_many_webhooks(_request: Request, _error: Exception) -> Response:
    return problem(409, "too_many_webhooks", f"There are {MOST} webhooks already, the most there may be.")


def _wrong_state(_request: Request, error: Exception) -> Response:
    assert isinstance(error, WrongState)
    why = _WHY.get(error.status, f"it is {error.status}")
    return problem(409, f"email_{error.status}", f"It is too late to {error.step} this e-mail: {why}.")


def _no_template(_request: Request, _error: Exception) -> Response:
    return problem(404, "template_not_found", "There is no template with this name and version.")


def _stale_template(_request: Request, error: Exception) -> Response:
    assert isinstance(error, StaleVersion)
    return problem(412, "stale_version", f"Nothing was changed: the template is at version {error.version} by now.")


def _no_schedule(_request: Request, _error: Exception) -> Response:
    return problem(404, "schedule_not_found", "There is no schedule with this name.")


def _stale_schedule(_request: Request, error: Exception) -> Response:
    assert isinstance(error, StaleSchedule)
    return problem(412, "stale_revision", f"Nothing was changed: the schedule is at revision {error.rev} by now.")


def _stale(_request: Request, error: Exception) -> Response:
    assert isinstance(error, StaleRevision)
    return problem(412, "stale_revision", f"Nothing was changed: the e-mail is at revision {error.rev} by now.")


def _key_in_use(_request: Request, _error: Exception) -> Response:
    detail = "The first request with this Idempotency-Key is still being worked on; try again later."
    return problem(409, "idempotency_key_in_use", detail, headers={"Retry-After": "1"})


def _key_reused(_request: Request, _error: Exception) -> Response:
    return problem(
        422,
        "idempotency_key_reused",
        "Nothing was done: this Idempotency-Key came with another request before.",
        faults=[Fault("Idempotency-Key", "belongs to another request; use a new one for each")],
    )


def _too_large(request: Request, error: Exception) -> Response:
    # A client in the midst of its body meets a reset instead of this answer if the connection is closed: the server
    # lets what is left of the body pass by. One that asked first (RFC 9110, section 10.1.1) need not send it at all.
    headers = {"Connection": "close"} if "expect" in request.headers else None
    return problem(413, "body_too_large", str(error), headers=headers)


def _crowded(_request: Request, _error: Exception) -> Response:
    detail = "Nothing was done: too many large requests are being read; try again in a moment."
    return problem(503, "crowded", detail, headers={"Retry-After": "1"})


def _unsupported(_request: Request, error: Exception) -> Response:
    assert isinstance(error, UnsupportedMedia)
    return problem(415, "unsupported_media_type", str(error), headers={"Accept-Post": error.accept})


def _unavailable(_request: Request, error: Exception) -> Response:
    assert isinstance(error, StoreUnavailable)
    return problem(503, error.reason, f"Nothing was changed, try again later: {error}.", headers=_RETRY_AFTER)


def _damaged(_request: Request, _error: Exception) -> Response:
    return problem(503, "store_damaged", "The store is damaged; its log names the file and line.", headers=_RETRY_AFTER)


def _not_allowed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, NotAllowed)
    return problem(403, error.code, error.detail)


def _unauthorized(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Unauthorized)
    return problem(401, error.code, error.detail, headers={"WWW-Authenticate": error.challenge})


def _forbidden(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Forbidden)
    return problem(403, "insufficient_scope", str(error), headers={"WWW-Authenticate": error.challenge})


def _too_many_requests(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TooManyRequests)
    headers = {"Retry-After": str(math.ceil(error.allowance.wait))}
    return problem(429, "too_many_requests", str(error), headers=headers)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = error.headers or {}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=allowed)
        detail = f"{request.url.path} takes {allowed.get('Allow')}, not {request.method}."
        return problem(405, "method_not_allowed", detail, headers=allowed)
    if error.status_code == 404:
        return problem(404, "not_found", "There is nothing at this address.")
    phrase = HTTPStatus(error.status_code).phrase
    return problem(error.status_code, phrase.lower().replace(" ", "_"), error.detail, headers=error.headers)


def _went_away(_request: Request, _error: Exception) -> Response:
    # In the midst of its body; nobody reads this, and it is no fault of ours to be logged as one.
    return Response(status_code=400)


def _fault_of_ours(_request: Request, _error: Exception) -> Response:
    return problem(500, "internal_error", "Something went wrong here; the service's log has the details.")


EXCEPTION_HANDLERS: dict[type[Exception], ExceptionHandler] = {
    InvalidJson: _invalid_json,
    InvalidRequest: _invalid_request,
    TemplateNotFound: _no_template,
    StaleVersion: _stale_template,
    ScheduleNotFound: _no_schedule,
    StaleSchedule: _stale_schedule,
    StaleRevision: _stale,
    KeyInUse: _key_in_use,
    KeyReused: _key_reused,
    EmailNotFound: _not_found,
    WrongState: _wrong_state,
    WebhookNotFound: _no_webhook,
    TooManyWebhooks: _too_many_webhooks,
    BodyTooLarge: _too_large,
    UnsupportedMedia: _unsupported,
    Crowded: _crowded,
    StoreUnavailable: _unavailable,
    StoreDamaged: _damaged,
    ClientDisconnect: _went_away,
    NotAllowed: _not_allowed,
    Unauthorized: _unauthorized,
    Forbidden: _forbidden,
    TooManyRequests: _too_many_requests,
    HTTPException: _http,
    Exception: _fault_of_ours,
}
