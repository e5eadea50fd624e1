"""The series of one model and of one tenant, looked up once: what an ended exchange adds to each.

Counting one exchange takes microseconds, in which nobody else is served: nothing here looks a label up or searches a list.
"""

import struct
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from gateway.telemetry.catalogue import LATE_FIRST_TOKEN_S, Direction, Outcome, Stage
from gateway.telemetry.ended_exchange import EndedExchange

_write = struct.Struct("d").pack_into


class SeriesValue:
    """One number of a series. Added to here alone, by the event loop's thread, it needs no lock; a scrape reads it whole."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def add(self, amount: float = 1.0) -> None:
        self._value._value += amount

    @staticmethod
    def of(value: Any) -> "SeriesValue":
        """``value`` is the library's own, in this process's memory or in a file that workers' sums are made of."""
        return SeriesValue(value) if getattr(value, "_file", None) is None else _InFile(value)


class _InFile(SeriesValue):
    """A file's map stays good when the library makes it anew because the file grew: both show the same bytes."""

    __slots__ = ("_at", "_map", "_now")

    def __init__(self, value: Any) -> None:
        self._map, self._at, self._now = value._file._m, value._file._positions[value._key], value._value

    def add(self, amount: float = 1.0) -> None:
        self._now += amount
        _write(self._map, self._at, self._now)


class QuickHistogram:
    """A histogram's series. The library's own ``observe`` looks at each bound in turn and takes a lock for each number."""

    __slots__ = ("_bounds", "_buckets", "_sum")

    def __init__(self, series: Histogram) -> None:
        self._bounds = series._upper_bounds
        self._buckets, self._sum = [SeriesValue.of(bucket) for bucket in series._buckets], SeriesValue.of(series._sum)

    def observe(self, value: float) -> None:
        self._sum.add(value)
        self._buckets[bisect_left(self._bounds, value)].add()


def series_value(series: Counter | Gauge) -> SeriesValue:
    """A counter's or gauge's."""
    return SeriesValue.of(series._value)


class ModelSeries:
    """The series of one model."""

    def __init__(self, name: str, counter: Callable[[str], Counter], histogram: Callable[[str], Histogram]) -> None:
        self._exchanges, self._name = counter("vitrine_exchanges_total"), name
        self._outcomes: dict[tuple[str, Outcome], SeriesValue] = {}
        self._total, self._queue, self._first_byte, self._first_token, self._apart, self._silence = (
            QuickHistogram(histogram(f"vitrine_{what}_seconds").labels(name))
            for what in ("exchange", "queue", "first_byte", "first_token", "between_tokens", "longest_silence")
        )
        self._stages = {one: QuickHistogram(histogram("vitrine_stage_seconds").labels(name, one)) for one in Stage}
        self._tokens_in, self._tokens_out = (
            series_value(counter("vitrine_tokens_total").labels(name, way)) for way in Direction
        )
        self._bytes_in, self._bytes_out = (
            series_value(counter("vitrine_relayed_bytes_total").labels(name, way)) for way in Direction
        )
        self._images, self._image_bytes, self._pixels = (
            series_value(counter(f"vitrine_{what}_total").labels(name))
            for what in ("images", "image_bytes", "image_pixels")
        )

    def expect(self, route: str) -> None:
        """Have the series of all outcomes at nothing, so that the first of its kind is an increase."""
        for outcome in Outcome:
            self._outcome(route, outcome)

    def _outcome(self, route: str, outcome: Outcome) -> SeriesValue:
        series = self._outcomes.get((route, outcome))
        if series is None:
            series = self._outcomes[route, outcome] = series_value(self._exchanges.labels(route, self._name, outcome))
        return series

    def count(self, exchange: EndedExchange) -> None:
        self._outcome(exchange.route, exchange.outcome).add()
        self._total.observe(exchange.ended_s - exchange.began_s)
        for stage, seconds in exchange.spent().items():
            self._stages[stage].observe(seconds)
        if exchange.waited_s is not None:
            self._queue.observe(exchange.waited_s)
        if exchange.first_byte_s is not None:
            self._first_byte.observe(exchange.first_byte_s - exchange.began_s)
        self._tokens_in.add(exchange.prompt_tokens or 0)
        self._tokens_out.add(exchange.completion_tokens or 0)
        self._bytes_in.add(exchange.body_bytes)
        self._bytes_out.add(exchange.answer_bytes)
        if exchange.images:
            self._images.add(exchange.images)
            self._image_bytes.add(exchange.image_bytes)
            self._pixels.add(exchange.image_pixels)
        if exchange.first_token_s is not None:
            self._first_token.observe(exchange.first_token_s - exchange.began_s)
            self._silence.observe(exchange.longest_silence_s)
            each = (exchange.completion_tokens or 0) / exchange.n  # of each choice: they are made side by side
            if each > 1 and exchange.outcome is Outcome.COMPLETED:
                self._apart.observe(max(0.0, exchange.last_piece_s - exchange.first_token_s) / (each - 1))
        elif exchange.stream and exchange.outcome is Outcome.CLIENT_LEFT:
            # It would have come later still: a client that gives up must not hide that it waited too long.
            waited_s = exchange.ended_s - exchange.began_s
            if waited_s > LATE_FIRST_TOKEN_S:
                self._first_token.observe(waited_s)


class TenantSeries:
    """The series of one tenant."""

    def __init__(self, name: str, counter: Callable[[str], Counter]) -> None:
        self.name = name
        self._outcomes = {
            one: series_value(counter("vitrine_tenant_exchanges_total").labels(name, one)) for one in Outcome
        }
        self._tokens_in, self._tokens_out = (
            series_value(counter("vitrine_tenant_tokens_total").labels(name, way)) for way in Direction
        )
        self._images = series_value(counter("vitrine_tenant_images_total").labels(name))

    def count(self, exchange: EndedExchange) -> None:
        self._outcomes[exchange.outcome].add()
        self._tokens_in.add(exchange.prompt_tokens or 0)
        self._tokens_out.add(exchange.completion_tokens or 0)
        if exchange.images:
            self._images.add(exchange.images)
