"""What an error that a server answers says about the commands, and where a node of a Cluster is."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from zqueue.connect.cluster import endpoint_of
from zqueue.connect.place import Endpoint
from zqueue.connect.trouble import ServerError, is_elsewhere, is_refusal, is_script_unknown

WRAPPED = "Error running script (call to f_06be): @user_script:33: @user_script: 33: "
"""How Redis 6.2 wraps an error that comes up in a script."""


@pytest.mark.parametrize(
    ("error", "refusal", "elsewhere"),
    [
        (NoScriptError("No matching script. Please use EVAL."), True, False),
        (ReadOnlyError("You can't write against a read only replica."), True, True),
        (MovedError("3999 127.0.0.1:6381"), True, True),
        (AskError("3999 127.0.0.1:6381"), True, True),
        (TryAgainError("Multiple keys request during rehashing of slot"), True, False),
        (ClusterDownError("Hash slot not served"), True, True),
        (MasterDownError("Link with MASTER is down"), True, True),
        (ResponseError("BUSY Redis is busy running a script."), True, False),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), True, False),
        (ResponseError(f"{WRAPPED}-READONLY You can't write against a read only replica."), True, True),
        (ResponseError(f"{WRAPPED}-CLUSTERDOWN The cluster is down"), True, True),
        (ResponseError(f"{WRAPPED}-MOVED 3999 127.0.0.1:6381"), True, True),
        (ResponseError(f"{WRAPPED}-ASK 3999 127.0.0.1:6381"), True, True),
        (ResponseError(f"{WRAPPED}-TRYAGAIN Multiple keys request"), True, False),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), False, False),
        (ResponseError("ERR value is not an integer, you may not ASK it"), False, False),
        (ResponseError("Script attempted to access a non local key in a cluster node"), False, False),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), False, False),
    ],
)
def test_what_an_error_says(error: ServerError, refusal: bool, elsewhere: bool) -> None:
    """A refusal was not executed and may be later; one from a server that is not the right one means to look anew."""
    assert (is_refusal(error), is_elsewhere(error)) == (refusal, elsewhere)
    assert is_script_unknown(error) == isinstance(error, NoScriptError)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ([b"10.0.0.7", 6381, b"id"], Endpoint("10.0.0.7", 6381)),
        ([b"node-7.example", 6381, b"id", [b"ip", b"10.0.0.7"]], Endpoint("node-7.example", 6381)),
        ([b"", 6381, b"id"], Endpoint("guide", 6381)),
        ([b"?", 6381, b"id", []], Endpoint("guide", 6381)),
        ([None, 6381, b"id", []], Endpoint("guide", 6381)),
    ],
)
def test_where_a_node_is(node: list[Any], expected: Endpoint) -> None:
    """At the host it announces; one that knows none is where it was asked."""
    assert endpoint_of(node, Endpoint("guide", 7000)) == expected


def test_how_an_endpoint_is_shown() -> None:
    """As in a URL."""
    assert [str(Endpoint("h", 1)), str(Endpoint("::1", 1))] == ["h:1", "[::1]:1"]
