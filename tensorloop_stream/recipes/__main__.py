"""Run the command line `python -m tensorloop_stream.recipes`."""

import sys

from ._cli import main

sys.exit(main())
