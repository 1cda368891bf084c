"""Everything the API answers to."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from service.routes import (
    attachments,
    bounces,
    emails,
    events,
    health,
    inbox,
    schedules,
    suppressions,
    templates,
    unsubscribe,
    webhooks,
)
from service.routes.docs import endpoints as docs
from service.routes.guard import guarded
from service.routes.openapi import endpoints as openapi

TABLE = [
    Route("/v1/attachments", attachments.Attachments),
    Route("/v1/emails", emails.Emails),
    Route("/v1/emails/batch", emails.Batch),
    Route("/v1/emails/cancel", emails.CancelMany),
    Route("/v1/emails/retry", emails.RetryMany),
    Route("/v1/emails/{id}", emails.OneEmail),
    Route("/v1/emails/{id}/message", emails.Message),
    Route("/v1/emails/{id}/cancel", emails.Cancel),
    Route("/v1/emails/{id}/retry", emails.Retry),
    Route("/v1/emails/{id}/events", emails.Events),
    Route("/v1/events", events.AllEvents),
    Route("/v1/templates", templates.Templates),
    Route("/v1/templates/{name}", templates.OneTemplate),
    Route("/v1/templates/{name}/preview", templates.Preview),
    Route("/v1/webhooks", webhooks.Webhooks),
    Route("/v1/webhooks/{id}", webhooks.OneWebhook),
    Route("/v1/webhooks/{id}/test", webhooks.Test),
    Route("/v1/webhooks/{id}/replay", webhooks.Replay),
    Route("/v1/webhooks/{id}/enable", webhooks.Enable),
    Route("/v1/webhooks/{id}/secret", webhooks.Secret),
    Route("/v1/schedules", schedules.Schedules),
    Route("/v1/schedules/{name}", schedules.OneSchedule),
    Route("/v1/schedules/{name}/pause", schedules.Pause),
    Route("/v1/schedules/{name}/resume", schedules.Resume),
    Route("/v1/schedules/{name}/run", schedules.Run),
    Route("/v1/bounces", bounces.Bounces),
    Route("/v1/suppressions", suppressions.Suppressions),
    Route("/v1/suppressions/{address:path}", suppressions.OneSuppression),
    Route("/unsubscribe/{token}", unsubscribe.Unsubscribe),
    Route("/inbox", inbox.Messages),
    Route("/inbox/{id}", inbox.OneMessage),
    Route("/healthz", health.Healthz),
    Route("/readyz", health.Readyz),
    Route("/openapi.json", openapi.OpenApi),
    Route("/docs", docs.Docs),
    Route("/docs/docs.css", docs.Style),
    Route("/docs/docs.js", docs.Script),
]
"""Each names its scopes and describes itself by `operation.operation` on the methods of its endpoint."""

ROUTES: list[BaseRoute] = guarded(TABLE)
