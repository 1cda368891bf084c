"""Webhooks: what happens is told to other programs over HTTP, in order, until they have taken it."""
