"""A second, harder profile for the laws: `pytest tests/planning --hypothesis-profile=thorough` (some minutes)."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "thorough", max_examples=3000, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
