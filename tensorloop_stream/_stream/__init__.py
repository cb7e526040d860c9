"""The engine: one stream from its opening to its closing, sync and async."""
