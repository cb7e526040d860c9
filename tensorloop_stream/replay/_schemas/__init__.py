"""JSON schemas: whether a value fits one, and making up a value that does."""
