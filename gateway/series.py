"""The series of one model and of one tenant, looked up once: what an ended exchange adds to each.

Counting one exchange takes microseconds, in which nobody else is served: nothing here looks a label up or searches a list.
"""

import struct
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from gateway.exchange import Exchange, Outcome
from gateway.metrics import Stage, Way

_write = struct.Struct("d").pack_into


class Number:
    """One number of a series. Added to here alone, by the event loop's thread, it needs no lock; a scrape reads it whole."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def add(self, amount: float = 1.0) -> None:
        self._value._value += amount

    @staticmethod
    def of(value: Any) -> "Number":
        """``value`` is the library's own, in this process's memory or in a file that workers' sums are made of."""
        return Number(value) if getattr(value, "_file", None) is None else _InFile(value)


class _InFile(Number):
    """A file's map stays good when the library makes it anew because the file grew: both show the same bytes."""

    __slots__ = ("_at", "_map", "_now")

    def __init__(self, value: Any) -> None:
        self._map, self._at, self._now = value._file._m, value._file._positions[value._key], value._value

    def add(self, amount: float = 1.0) -> None:
        self._now += amount
        _write(self._map, self._at, self._now)


class Quick:
    """A histogram's series. The library's own ``observe`` looks at each bound in turn and takes a lock for each number."""

    __slots__ = ("_bounds", "_buckets", "_sum")

    def __init__(self, series: Histogram) -> None:
        self._bounds = series._upper_bounds
        self._buckets, self._sum = [Number.of(bucket) for bucket in series._buckets], Number.of(series._sum)

    def observe(self, value: float) -> None:
        self._sum.add(value)
        self._buckets[bisect_left(self._bounds, value)].add()


def number(series: Counter | Gauge) -> Number:
    """A counter's or gauge's."""
    return Number.of(series._value)


class OfModel:
    """The series of one model."""

    def __init__(self, name: str, counter: Callable[[str], Counter], histogram: Callable[[str], Histogram]) -> None:
        self._exchanges, self._name = counter("vitrine_exchanges_total"), name
        self._outcomes: dict[tuple[str, Outcome], Number] = {}
        self._total, self._queue, self._first_byte, self._first_token, self._apart, self._silence = (
            Quick(histogram(f"vitrine_{what}_seconds").labels(name))
            for what in ("exchange", "queue", "first_byte", "first_token", "between_tokens", "longest_silence")
        )
        self._stages = {one: Quick(histogram("vitrine_stage_seconds").labels(name, one)) for one in Stage}
        self._tokens_in, self._tokens_out = (number(counter("vitrine_tokens_total").labels(name, way)) for way in Way)
        self._bytes_in, self._bytes_out = (
            number(counter("vitrine_relayed_bytes_total").labels(name, way)) for way in Way
        )
        self._images, self._image_bytes, self._pixels = (
            number(counter(f"vitrine_{what}_total").labels(name)) for what in ("images", "image_bytes", "image_pixels")
        )

    def expect(self, route: str) -> None:
        """Have the series of all outcomes at nothing, so that the first of its kind is an increase."""
        for outcome in Outcome:
            self._outcome(route, outcome)

    def _outcome(self, route: str, outcome: Outcome) -> Number:
        series = self._outcomes.get((route, outcome))
        if series is None:
            series = self._outcomes[route, outcome] = number(self._exchanges.labels(route, self._name, outcome))
        return series

    def count(self, exchange: Exchange, sent: int, said: int, images: int) -> None:
        course = exchange.course
        self._outcome(exchange.route, exchange.outcome).add()
        self._total.observe(course.ended_s - course.began_s)
        for stage, seconds in course.spent().items():
            self._stages[stage].observe(seconds)
        if exchange.waited_s is not None:
            self._queue.observe(exchange.waited_s)
        if exchange.first_byte_s is not None:
            self._first_byte.observe(exchange.first_byte_s - course.began_s)
        self._tokens_in.add(sent)
        self._tokens_out.add(said)
        self._bytes_in.add(course.body_bytes)
        self._bytes_out.add(exchange.answer_bytes)
        if images:
            self._images.add(images)
            self._image_bytes.add(sum(image.size_bytes for image in exchange.request.images))
            self._pixels.add(sum(image.width * image.height for image in exchange.request.images))
        if exchange.first_token_s is not None:
            self._first_token.observe(exchange.first_token_s - course.began_s)
            self._silence.observe(exchange.longest_silence_s)
            each = said / exchange.request.n  # of each choice: they are made side by side
            if each > 1 and exchange.outcome is Outcome.COMPLETED:
                self._apart.observe(max(0.0, exchange.last_piece_s - exchange.first_token_s) / (each - 1))


class OfTenant:
    """The series of one tenant."""

    def __init__(self, name: str, counter: Callable[[str], Counter]) -> None:
        self.name = name
        self._outcomes = {one: number(counter("vitrine_tenant_exchanges_total").labels(name, one)) for one in Outcome}
        self._tokens_in, self._tokens_out = (
            number(counter("vitrine_tenant_tokens_total").labels(name, way)) for way in Way
        )
        self._images = number(counter("vitrine_tenant_images_total").labels(name))

    def count(self, outcome: Outcome, sent: int, said: int, images: int) -> None:
        self._outcomes[outcome].add()
        self._tokens_in.add(sent)
        self._tokens_out.add(said)
        if images:
            self._images.add(images)
