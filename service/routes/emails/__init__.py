"""``/v1/emails``: schedule, list, read, change, cancel, retry; one, many, or all that are like a filter."""

from service.routes.emails.actions import Cancel, CancelMany, Retry, RetryMany
from service.routes.emails.batch import Batch
from service.routes.emails.collection import Emails
from service.routes.emails.one import Events, Message, OneEmail

__all__ = ["Batch", "Cancel", "CancelMany", "Emails", "Events", "Message", "OneEmail", "Retry", "RetryMany"]
