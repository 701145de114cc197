"""The tables of what is observed, made from the code.

``metrics-table``    every metric of ours, as Prometheus knows it
``secret-fields``    fields of calls that are never shown
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from tables import TableDirective
from twisted.internet.task import Clock

from remotevirt.observe.lag import LagMeter
from remotevirt.observe.masking import SECRET_FIELDS
from remotevirt.observe.metrics import FAMILIES, Metrics

SUFFIXES = {"counter": "_total", "info": "_info"}
"""What Prometheus adds to the names of some kinds of metrics."""


class MetricsTable(TableDirective):
    """The metrics that a registry really has, with their labels."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [
            [
                f"``{metric.name}{SUFFIXES.get(metric.type, '')}``",
                metric.type,
                ", ".join(f"``{label}``" for label in FAMILIES[metric.name].labels),
                metric.documentation,
            ]
            for metric in Metrics(LagMeter(Clock())).collect()
        ]
        return self.table(["metric", "type", "labels", "meaning"], rows, [5, 2, 3, 6])


class SecretFields(TableDirective):
    """The fields that are masked."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [[f"``{name}``", reason] for name, reason in SECRET_FIELDS.items()]
        return self.table(["field", "what it holds"], rows, [1, 3])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("metrics-table", MetricsTable)
    app.add_directive("secret-fields", SecretFields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
