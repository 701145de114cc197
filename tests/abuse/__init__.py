"""Attacks on a running daemon, and what it must look like afterwards."""
