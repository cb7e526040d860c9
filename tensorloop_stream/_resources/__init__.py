"""The resources of the clients: the SDK's `chat` and `responses`, whose streams are this package's."""
