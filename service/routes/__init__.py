"""Everything the API answers to."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from service.routes import emails, health, inbox

ROUTES: list[BaseRoute] = [
    Route("/v1/emails", emails.Emails),
    Route("/v1/emails/{id}", emails.OneEmail),
    Route("/v1/emails/{id}/cancel", emails.Cancel),
    Route("/v1/emails/{id}/retry", emails.Retry),
    Route("/v1/emails/{id}/events", emails.Events),
    Route("/inbox", inbox.Messages),
    Route("/inbox/{id}", inbox.OneMessage),
    Route("/healthz", health.Healthz),
    Route("/readyz", health.Readyz),
]
