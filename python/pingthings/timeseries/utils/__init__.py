"""Helpers for times and spans, the same as in `pingthings.timeseries.utils.timez`."""

from pingthings.timeseries.utils.timez import (
    currently_as_ns,
    datetime_to_ns,
    nearest_point_width,
    ns_delta,
    ns_to_datetime,
    to_nanoseconds,
)

__all__ = [
    "currently_as_ns",
    "datetime_to_ns",
    "nearest_point_width",
    "ns_delta",
    "ns_to_datetime",
    "to_nanoseconds",
]
