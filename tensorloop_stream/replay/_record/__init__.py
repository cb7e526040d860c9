"""Record exchanges with a service as cassettes."""
