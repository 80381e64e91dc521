"""What a widget draws and an alarm watches, as data: no construct is made here, so that tests can read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evpower.metric_names import CATALOGUE


@dataclass(frozen=True, slots=True)
class Series:
    """One CloudWatch metric with a statistic. ``namespace`` of None: the product's own in this deployment."""

    name: str
    statistic: str
    namespace: str | None = None
    dimensions: Mapping[str, str] = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True, slots=True)
class Formula:
    """Metric math over named series."""

    expression: str
    uses: Mapping[str, Series]
    label: str = ""


Drawn = Series | Formula


def own(name: str, statistic: str = "Sum", label: str = "", **dimensions: str) -> Series:
    """A metric of the catalogue.

    Raises:
        ValueError: the code does not write it under these dimensions.
    """
    metric = CATALOGUE.get(name)
    if metric is None or frozenset(dimensions) not in {frozenset(names) for names in metric.dimensions}:
        raise ValueError(f"the product writes no metric {name} by {sorted(dimensions)}")
    return Series(name, statistic, None, dimensions, label or " ".join([name, *dimensions.values()]))


def aws(service: str, name: str, statistic: str, label: str = "", **dimensions: str) -> Series:
    """A metric that AWS writes about its own resources."""
    return Series(name, statistic, f"AWS/{service}", dimensions, label or name)


def ratio(part: Series, whole: Series, label: str, *, at_least: float = 1) -> Formula:
    """Percentage of ``part`` in ``whole``; 0 while there are fewer than ``at_least`` of ``part``."""
    expression = f"IF(part >= {at_least:g}, 100 * part / MAX([whole, part]), 0)"
    return Formula(expression, {"part": part, "whole": whole}, label)


def series_of(drawn: Drawn) -> tuple[Series, ...]:
    """The metrics behind what is drawn."""
    return (drawn,) if isinstance(drawn, Series) else tuple(drawn.uses.values())
