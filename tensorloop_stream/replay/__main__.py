"""`python -m tensorloop_stream.replay`."""

import sys

from ._command import main

sys.exit(main())
