"""The tests of remotevirt; run them with `trial tests`."""
