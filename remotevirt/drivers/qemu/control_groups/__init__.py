"""The kernel's control groups of guests: where they are, what is in them, in both versions of their files."""
