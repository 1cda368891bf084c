"""The queue of webhooks. It is not that of e-mails: neither waits for the other, whatever its limits and delays."""

from __future__ import annotations

from service.email import jobs
from service.outbox import service_queue
from service.settings import Settings
from zqueue import NewJob, Queue

CONCURRENCY = 20
"""Endpoints that a worker talks to at once."""

NAME = "webhook"


def hooks_queue(settings: Settings) -> Queue:
    """The queue of a store's endpoints: a job for each that has something to be told, under its id.

    Raises:
        SettingsError: The URL cannot be used.
    """
    return service_queue("hooks", settings)


def job(webhook_id: str, store_id: str, *, anew: bool) -> NewJob:
    """The job of an endpoint, due now; *anew*: instead of one that waits for later, or is dead."""
    return NewJob(jobs.payload(store_id), id=webhook_id, name=NAME, on_conflict="replace" if anew else "keep")
