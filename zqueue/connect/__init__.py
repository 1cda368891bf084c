"""Connections: one `Link` is one socket to the server, with nothing re-sent behind anybody's back.

The client library's connections do the socket, the protocol (hiredis), TLS and AUTH. Its retries are off, and its
clients for Sentinel and Cluster are not used: they would send a script again though the first one ran
(`docs/architecture.md`, "Connections and re-sending"). A link *locates* its server each time it connects: the one of
the URL, or the master that sentinels name, or the node of a Cluster that owns a key. What to do after a failure is
decided in `zqueue.sending`, where it is known what may be sent twice.
"""

from __future__ import annotations

from zqueue.connect.address import Address
from zqueue.connect.link import TIMEOUT_S, Link, Links
from zqueue.connect.trouble import LinkLost, ServerError, is_refusal, is_script_unknown

__all__ = ["TIMEOUT_S", "Address", "Link", "LinkLost", "Links", "ServerError", "is_refusal", "is_script_unknown"]
