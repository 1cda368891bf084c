"""Accept, cancel, change and retry e-mails: the store first, for what it holds is a promise; then the queue."""

from service.outbox.line import mail_queue, service_queue
from service.outbox.outbox import Outbox

__all__ = ["Outbox", "mail_queue", "service_queue"]
