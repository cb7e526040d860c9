"""A gateway's stream to a browser, byte for byte."""
