"""Read the body of a streamed response from its socket; heads, pools and TLS stay the HTTP library's."""
