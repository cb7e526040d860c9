"""The HTTP library of the SDK, the body of an error, and the key that no answer may repeat."""
