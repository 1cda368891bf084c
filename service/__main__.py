"""Makes ``python -m service`` work."""

import sys

from service.cli import main

sys.exit(main())
