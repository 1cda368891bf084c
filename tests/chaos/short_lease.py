"""``python -m service worker`` with a short lease, so that a test need not wait for the usual one to end.

python -m tests.chaos.short_lease SECONDS
"""

from __future__ import annotations

import functools
import sys
from datetime import timedelta

from service import cli, worker

if __name__ == "__main__":
    worker.run = functools.partial(worker.run, lease=timedelta(seconds=float(sys.argv[1])))
    sys.exit(cli.main(["worker", "--supervised"]))
