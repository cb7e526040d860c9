"""The same result without parsing; delete this package, and only speed is lost."""
