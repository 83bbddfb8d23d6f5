"""Online statistics of a stream of numbers, one observation at a time, no look-ahead."""

from __future__ import annotations

import math
from collections import deque


class Ema:
    """Exponential moving average with the usual weight 2 / (span + 1); starts at the first observation."""

    def __init__(self, span: int) -> None:
        self._alpha = 2.0 / (span + 1.0)
        self.value: float | None = None

    def update(self, observation: float) -> float:
        """Takes one observation and returns the new average."""
        self.value = observation if self.value is None else self.value + self._alpha * (observation - self.value)
        return self.value


class ReturnVolatility:
    """Standard deviation of log returns from event to event around zero, exponentially weighted over `span` events."""

    def __init__(self, span: int) -> None:
        self._variance = Ema(span)
        self._last: float | None = None

    def update(self, log_price: float) -> float:
        """Takes one log price and returns the deviation; 0 until there is a return."""
        if self._last is not None:
            self._variance.update((log_price - self._last) ** 2)
        self._last = log_price
        return math.sqrt(self._variance.value or 0.0)


class RollingWindow:
    """The last `size` observations; mean and deviation are summed from the values, so no rounding error adds up."""

    def __init__(self, size: int) -> None:
        self._values: deque[float] = deque(maxlen=size)

    @property
    def full(self) -> bool:
        """True once there are `size` observations."""
        return len(self._values) == self._values.maxlen

    def update(self, observation: float) -> None:
        """Takes one observation; the oldest leaves when the window is full."""
        self._values.append(observation)

    def mean_and_deviation(self) -> tuple[float, float]:
        """Mean and sample standard deviation; needs two observations."""
        count = len(self._values)
        mean = math.fsum(self._values) / count
        variance = math.fsum((value - mean) ** 2 for value in self._values) / (count - 1)
        return mean, math.sqrt(variance)
