"""The conversation with a relay. Only this package knows the SMTP client library."""

from service.mailer.smtp.connection import Connection
from service.mailer.smtp.timeouts import Timeouts
from service.mailer.smtp.trouble import Kind, RelayTrouble

__all__ = ["Connection", "Kind", "RelayTrouble", "Timeouts"]
