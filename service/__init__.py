"""A self-hosted e-mail scheduler on zqueue: a thin HTTP API, a worker, and their state in JSON files."""
