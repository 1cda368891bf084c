"""Makes ``python -m service`` work."""

import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # while it still loads, Ctrl-C ends it without a traceback

from service.cli import main  # noqa: E402 - what takes long to load comes after that

sys.exit(main())
