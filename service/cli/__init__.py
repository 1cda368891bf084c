"""The commands: one module for each, or for each family of them, that adds itself to the parser by `register`."""

from service.cli.main import main

__all__ = ["main"]
