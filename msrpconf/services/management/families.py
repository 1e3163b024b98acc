"""Families of metrics, whose names begin with ``msrpconf_``."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def gauge(name: str, about: str, value: float) -> Metric:
    """One value that goes up and down."""
    return GaugeMetricFamily(f"msrpconf_{name}", about, value)


def counter(name: str, about: str, value: float) -> Metric:
    """One value that only goes up."""
    return CounterMetricFamily(f"msrpconf_{name}", about, value)


def gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    """One value for each of a label's."""
    family = GaugeMetricFamily(f"msrpconf_{name}", about, labels=(label,))
    for each, value in values.items():
        family.add_metric((each,), value)
    return family


def counters(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    """The same, of values that only go up."""
    family = CounterMetricFamily(f"msrpconf_{name}", about, labels=(label,))
    for each, value in values.items():
        family.add_metric((each,), value)
    return family
