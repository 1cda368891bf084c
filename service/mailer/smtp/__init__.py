"""The conversation with a relay. Only this package knows the SMTP client library."""

from service.mailer.smtp.connection import Connection, RelayTrouble
from service.mailer.smtp.timeouts import Timeouts

__all__ = ["Connection", "RelayTrouble", "Timeouts"]
