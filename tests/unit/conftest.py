"""Settings of the property tests."""

from hypothesis import settings

# The machine that runs them is shared: a slow example is no failure.
settings.register_profile("btplug", deadline=None)
settings.load_profile("btplug")
