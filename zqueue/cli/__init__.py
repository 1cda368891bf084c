"""``zqueue ...``: the command line. Needs the extra ``cli``; `docs/cli.md` is its reference."""

from __future__ import annotations

import sys

from zqueue.cli import exits


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit status (see `exits`)."""
    try:
        import rich  # noqa: F401 - for tables and progress, which come later: said before anything is done

        from zqueue.cli.program import program
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.stderr.write(f"zqueue: the command line needs {error.name}: pip install 'zqueue[cli]'\n")
        return exits.FAILED
    try:
        program.main(arguments, prog_name="zqueue")
    except SystemExit as end:  # how click ends, whatever happened
        return end.code if isinstance(end.code, int) else exits.FAILED
