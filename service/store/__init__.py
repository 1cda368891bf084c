"""Every e-mail and what happened to it, durable in an append-only log of JSON lines."""
