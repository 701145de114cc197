"""The generated stubs."""
