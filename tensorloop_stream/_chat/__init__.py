"""Chat completions: chunks to one `ChatCompletion`."""
