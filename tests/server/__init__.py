"""The server, with in-memory transports and a clock that the tests turn."""
