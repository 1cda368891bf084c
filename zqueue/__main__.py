"""``python -m zqueue``: the command line."""

import sys

from zqueue.cli import main

sys.exit(main())
