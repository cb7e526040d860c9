"""JSON schemas: check a value, and make up one that fits."""
