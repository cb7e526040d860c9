"""The Responses API: events to one `Response`."""
