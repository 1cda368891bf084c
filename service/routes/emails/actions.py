"""Cancel and retry: one e-mail, or all that are like a filter."""

from __future__ import annotations

from dataclasses import asdict

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.outbox.bulk import Tally
from service.routes.body import read_json
from service.routes.emails import filters, reading
from service.routes.emails.filters import BulkRequest
from service.routes.emails.one import shown
from service.routes.operation import Scope, operation
from service.routes.reply import reply
from service.routes.shapes import BulkAnswer, EmailRecord
from service.routes.state import state_of

_OF_ONE = (404, 409, 412)
_OF_MANY = (400, 413, 415, 422)


class Cancel(HTTPEndpoint):
    """The cancelling of one e-mail."""

    @operation(
        Scope.SEND,
        "Cancel an e-mail",
        answers={200: EmailRecord},
        request_headers=("If-Match",),
        response_headers=("ETag",),
        problems=_OF_ONE,
    )
    async def post(self, request: Request) -> Response:
        """Cancel it; again is the same."""
        email_id, rev = reading.id_of(request), reading.wanted_rev(request)
        return shown(await state_of(request)["outbox"].cancel(email_id, rev))


class Retry(HTTPEndpoint):
    """Another try for one e-mail."""

    @operation(
        Scope.SEND,
        "Send a failed or held e-mail again",
        answers={200: EmailRecord},
        request_headers=("If-Match",),
        response_headers=("ETag",),
        problems=_OF_ONE,
    )
    async def post(self, request: Request) -> Response:
        """Send it again now if it failed or is held; again is the same."""
        email_id, rev = reading.id_of(request), reading.wanted_rev(request)
        return shown(await state_of(request)["outbox"].retry(email_id, rev))


class CancelMany(HTTPEndpoint):
    """The cancelling of all e-mails that are like a filter."""

    @operation(
        Scope.SEND,
        "Cancel all e-mails that are like a filter",
        body=BulkRequest,
        answers={200: BulkAnswer},
        problems=_OF_MANY,
        example={"status": "scheduled", "tag": "newsletter", "dry_run": True},
    )
    async def post(self, request: Request) -> Response:
        """Cancel them, or count what would come of it."""
        asked = filters.read(await read_json(request))
        tally = await state_of(request)["outbox"].cancel_all(asked.where, dry_run=asked.dry_run)
        return _counted("cancel", asked.dry_run, tally)


class RetryMany(HTTPEndpoint):
    """Another try for all e-mails that are like a filter."""

    @operation(
        Scope.SEND,
        "Send all failed or held e-mails again that are like a filter",
        body=BulkRequest,
        answers={200: BulkAnswer},
        problems=_OF_MANY,
        example={"status": "failed", "scheduled_after": "2030-01-01T00:00:00Z", "dry_run": True},
    )
    async def post(self, request: Request) -> Response:
        """Send them again now, or count what would come of it."""
        asked = filters.read(await read_json(request))
        tally = await state_of(request)["outbox"].retry_all(asked.where, dry_run=asked.dry_run)
        return _counted("retry", asked.dry_run, tally)


def _counted(action: str, dry_run: bool, tally: Tally) -> Response:
    return reply({"object": "bulk", "action": action, "dry_run": dry_run, **asdict(tally)})
