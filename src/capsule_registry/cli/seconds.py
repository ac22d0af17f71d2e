"""A number of seconds as an argument."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import click

#: Ten years.
_LONGEST: Final = 3.2e8


class Seconds(click.ParamType[timedelta]):
    """A time in seconds, neither negative nor without end."""

    name = "seconds"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:  # noqa: ANN401 - click's own
        """Return *value* as a `timedelta`."""
        if isinstance(value, timedelta):
            return value
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= _LONGEST:  # Nor is it NaN.
            self.fail(f"{value!r} is no number from 0 to {_LONGEST:.0f}", param, ctx)
        return timedelta(seconds=number)
