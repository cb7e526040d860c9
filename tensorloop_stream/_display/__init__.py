"""Answers on terminals and in notebooks, while they arrive."""
