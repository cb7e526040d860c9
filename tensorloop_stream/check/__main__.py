"""`python -m tensorloop_stream.check`."""

import sys

from ._cli import main

sys.exit(main())
