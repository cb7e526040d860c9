"""Show an answer on a terminal or in a notebook while it arrives."""
