"""Every cassette that is recorded, in the order of the recording."""

from from_model import FROM_MODEL
from from_proxy import FROM_PROXY
from from_script import FROM_SCRIPT

# The model is started afresh for its own, so they come first.
CATALOGUE = (*FROM_MODEL, *FROM_SCRIPT, *FROM_PROXY)
