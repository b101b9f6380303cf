"""How hard the laws are tried: fast by default, `AFTERCARE`-free through `--hypothesis-profile=thorough`."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fast", max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", max_examples=3000, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
