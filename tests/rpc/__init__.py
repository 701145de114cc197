"""The wire core: no transports, no clock."""
