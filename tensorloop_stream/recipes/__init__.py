"""List, show and copy the recipes: `python -m tensorloop_stream.recipes`."""

__all__: list[str] = []
