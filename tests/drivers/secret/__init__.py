"""Tests of the secret driver."""
