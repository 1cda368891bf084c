"""Limits as they are stored: us between two starts, burst, runs at a time; each part empty where there is no limit."""

from __future__ import annotations

from zqueue.clock import Duration, duration_us
from zqueue.envelope import checked_text
from zqueue.errors import InvalidJob


def encode_limit(
    group: str | None, rate: float | None, per: Duration, burst: int, concurrency: int | None
) -> tuple[str, str]:
    """A group and its limit as the script takes them: for the queue the group is empty, and so is a limit of nothing.

    Raises:
        InvalidJob: An argument is not as `Queue.set_limit` describes; the message names it.
    """
    name = "" if group is None else checked_text("group", group)
    if type(burst) is not int or burst < 1:
        raise InvalidJob(f"burst must be a whole number of at least 1, not {burst!r}")
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise InvalidJob(f"concurrency must be a whole number of at least 1, or None, not {concurrency!r}")
    interval = ""
    per_us = duration_us("per", per)
    if rate is not None:
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1e6:
            raise InvalidJob(f"rate must be a number above 0 and at most a million, or None, not {rate!r}")
        if not 1 <= per_us / rate <= _SLOWEST_US:
            raise InvalidJob(f"rate must be between one a year and a million a second, not {rate} in {per}")
        interval = f"{per_us / rate:.3f}"
    if rate is None and concurrency is None:
        return name, ""
    return name, f"{interval}:{burst}:{'' if concurrency is None else concurrency}"


_SLOWEST_US = 366 * 86_400 * 1_000_000
