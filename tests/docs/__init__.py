"""The manual is true: its commands run, its examples work, and it builds without a warning."""
