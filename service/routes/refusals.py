"""Requests that are turned away before anything is read of what they want."""

from __future__ import annotations

from service.access.limiter import Allowance
from service.access.scopes import Scope


class NotAllowed(Exception):
    """A request without a key that does not come from this machine."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Unauthorized(Exception):
    """A request needs a key and has none that is good (RFC 6750, section 3)."""

    def __init__(self, detail: str, *, code: str = "key_invalid") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail

    @property
    def challenge(self) -> str:
        """The field WWW-Authenticate."""
        return _challenge(None if self.code == "key_missing" else "invalid_token", self.detail)


class Forbidden(Exception):
    """A key lacks the scope that a request needs."""

    def __init__(self, key_id: str, scope: Scope) -> None:
        super().__init__(f"The API key {key_id} lacks the scope {scope}.")
        self.scope = scope

    @property
    def challenge(self) -> str:
        """The field WWW-Authenticate."""
        return f'{_challenge("insufficient_scope", str(self))}, scope="{self.scope}"'


class TooManyRequests(Exception):
    """A key is used too often."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(f"At most {allowance.rate.count:,} requests in {allowance.rate.seconds:,} s may be made.")
        self.allowance = allowance


def _challenge(error: str | None, detail: str) -> str:
    return 'Bearer realm="zqueue"' + (f', error="{error}", error_description="{detail}"' if error else "")
