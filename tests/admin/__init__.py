"""The admin program, with in-memory transports."""
