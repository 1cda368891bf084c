"""What schemathesis has to be told to send messages of e-mail; `schemathesis_run` has it loaded."""

from __future__ import annotations

import schemathesis

schemathesis.serializer.alias("message/rfc822", "text/plain")
