"""The tests of remotevirt; run them with `trial tests`.

How long the machine takes fails no property test: it may have other things to do.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("remotevirt", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("remotevirt")
