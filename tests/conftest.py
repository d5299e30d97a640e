"""What every test gets: the leak check, the clause marks, and hypothesis without a clock."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.leaks import leaks, leaks_of_async_test, leaks_on_loop

__all__ = ["leaks", "leaks_of_async_test", "leaks_on_loop"]

# By name, since the entry point would import dcsdk before coverage begins (see addopts).
pytest_plugins = ["pytester", "dcsdk.testing"]

# A test run gives the same verdict twice; `--hypothesis-profile=explore` looks further.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore",
    deadline=None,
    max_examples=5000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")
