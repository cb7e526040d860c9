"""Answers to requests that nobody recorded."""
