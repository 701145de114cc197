"""Tests of what hears the trace hook."""
