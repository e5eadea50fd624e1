"""Writes numbers as Grafana does for the ids of units that our dashboards use; an id that is not known is an error."""

import math

_SMALL = ((1e-6, "µs"), (1e-3, "ms"), (1, "s"), (60, "min"), (3600, "hour"), (86400, "day"))
_SHORT = ((1, ""), (1e3, " K"), (1e6, " Mil"), (1e9, " Bil"))
_COUNT = ((1, ""), (1e3, "K"), (1e6, "M"), (1e9, "B"))
_BYTES = ((1, "B"), (1024, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB"), (1 << 40, "TiB"))
_SUFFIX = "suffix:"


def written(value: float, unit: str) -> str:
    """``value`` with its unit, about three digits."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "∞"
    if unit.startswith(_SUFFIX):
        return _digits(value) + unit.removeprefix(_SUFFIX)
    match unit:
        case "none":
            return f"{value:.6g}"
        case "short":
            return _scaled(value, _SHORT, "")
        case "s":
            return _scaled(value, _SMALL)
        case "percentunit":
            return _digits(value * 100) + "%"
        case "bytes":
            return _scaled(value, _BYTES)
        case "binBps":
            return _scaled(value, _BYTES) + "/s"
        case "reqps":
            return _scaled(value, _COUNT, "") + " req/s"
        case "cps":
            return _scaled(value, _COUNT, "") + " c/s"
        case "celsius":
            return _digits(value) + " °C"
        case "watt":
            return _digits(value) + " W"
    raise ValueError(f"unit {unit!r} is not known here: add it")


def _scaled(value: float, scale: tuple[tuple[float, str], ...], space: str = " ") -> str:
    size, name = max((step for step in scale if step[0] <= abs(value)), default=scale[0])
    if value == 0:
        size, name = next(step for step in scale if step[0] == 1)
    return _digits(value / size) + (f"{space}{name}" if name else "")


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) < 100 else 0
    text = f"{value:.{min(places, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
