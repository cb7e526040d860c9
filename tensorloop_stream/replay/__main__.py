"""Run the command line `python -m tensorloop_stream.replay`."""

import sys

from ._cli import main

sys.exit(main())
