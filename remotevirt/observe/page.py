"""The status page: one document, made whole by the daemon, that asks for itself again.

There is one way to show a value, the functions here; the script only fetches the page again and puts its
``<main>`` in place of the old one. Without a script the browser reloads the page. When the daemon no longer
answers, what was seen last stays, and a line says so.

All text goes through :func:`escape`. Script and style are fixed and named by their hashes in the policy that
goes with the page (:data:`POLICY`), so nothing else would run even if it got in.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any, Final

__all__ = ["POLICY", "render"]

RELOAD_SECONDS = 10
"""Seconds between two reloads by a browser without scripts; the script asks every two."""


ORDINARY_SERVER = "libvirtd"
"""The server that goes without saying; a client of another one has it beside its name."""

REFUSALS_SHOWN = 12
"""Refusals on the page, the latest first; the document has more."""


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


STYLE: Final = _asset("page.css")

SCRIPT: Final = _asset("page.js")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY: Final = (
    f"default-src 'none'; script-src {_hash(SCRIPT)}; style-src {_hash(STYLE)}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy: this script, this style, asking the daemon again, and nothing else."""


def render(report: dict[str, Any]) -> str:
    """Make the page.

    Args:
        report: what :meth:`remotevirt.observe.status.Status.report` returned.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>remotevirt</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f'<noscript><meta http-equiv="refresh" content="{RELOAD_SECONDS}"></noscript>'
        f"<style>{STYLE}</style></head>\n<body><header><h1>remotevirt {escape(report['version'])}</h1>"
        f'<span class="soft">process {report["pid"]}, since {_moment(report["started"])}</span>'
        f'<span id="state">reloads every {RELOAD_SECONDS} seconds</span></header>\n'
        f"<main>{_main(report)}</main>\n<script>{SCRIPT}</script></body></html>\n"
    )


def _main(report: dict[str, Any]) -> str:
    calls, lag, now = report["calls"], report["lag_seconds"], report["now"]
    tiles = [
        ("clients", f"{report['clients_total']:,}", ""),
        ("calls a second", f"{calls['last_second']:,}", f"{calls['per_second']:.1f} over a minute"),
        ("calls", f"{calls['total']:,}", f"{calls['errors']:,} with an error"),
        ("memory", _bytes(report["memory_bytes"]), ""),
        ("reactor lag", _seconds(lag["last"]), f"{_seconds(lag['worst'])} at most in a minute"),
        ("running for", _span(now - report["started"]), ""),
    ]
    slowest = [
        (row["procedure"], row["calls"], _seconds(row["mean_seconds"]), _seconds(row["p99_seconds"]))
        for row in report["slowest"]
    ]
    clients = [
        (
            row["id"],
            _Tagged(row["who"], _tags(row)),
            row["transport"],
            f"{_span(now - row['since'])} ago",
            f"{row['calls']:,}",
        )
        for row in report["clients"]
    ]
    refusals = [
        (_clock(row["when"]), row["who"], row["what"], row["why"])
        for row in report["refusals"][:REFUSALS_SHOWN]
    ]
    hidden = report["clients_total"] - len(clients)
    return "\n".join(
        [
            "<dl>" + "".join(_tile(*tile) for tile in tiles) + "</dl>",
            _section("wide", "Calls a second", "the last minute", _chart(calls["seconds"])),
            _section("slim", "Domains by state", "", _domains(report["domains"])),
            _section(
                "narrow",
                "Slowest procedures",
                "their recent calls",
                _table("slowest", ("procedure:c", "calls:n", "mean:n", "p99:n"), slowest, "No calls yet."),
            ),
            _section(
                "broad",
                "Clients",
                f"and {hidden:,} more" if hidden > 0 else "",
                _table(
                    "clients",
                    ("id:n", "who", "transport", "connected:t", "calls:n"),
                    clients,
                    "Nobody is here.",
                    "cards",
                ),
            ),
            _section(
                "",
                "Recent refusals",
                "",
                _table(
                    "refusals", ("when:t", "who", "what:c", "why"), refusals, "Nobody was refused.", "cards"
                ),
            ),
        ]
    )


class _Tagged(str):
    """A text with tags behind it."""

    tags: Sequence[str]

    def __new__(cls, text: str, tags: Sequence[str]) -> _Tagged:
        """Make it."""
        self = super().__new__(cls, text)
        self.tags = tags
        return self


def _tags(row: dict[str, Any]) -> list[str]:
    """What is unusual about a client."""
    tags = ["read-only"] if row["readonly"] else []
    return tags if row["server"] == ORDINARY_SERVER else [*tags, row["server"]]


def _tile(name: str, value: str, more: str) -> str:
    below = f"<small>{escape(more)}</small>" if more else ""
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}{below}</dd></div>"


def _section(width: str, title: str, more: str, body: str) -> str:
    beside = f" <small>{escape(more)}</small>" if more else ""
    return f'<section class="{width}"><h2>{escape(title)}{beside}</h2>{body}</section>'


def _table(
    name: str, columns: Sequence[str], rows: Sequence[Iterable[object]], empty: str, kind: str = ""
) -> str:
    """A table.

    Args:
        name: its id in the page.
        columns: their heads, each with a class behind a colon, if need be.
        rows: their cells, text or numbers.
        empty: what stands in place of a table without rows.
        kind: ``cards`` for one whose rows become cards where there is little room.
    """
    if not rows:
        return f'<p class="soft" id="{name}">{escape(empty)}</p>'
    heads = [column.partition(":") for column in columns]
    head = "".join(f'<th class="{align}">{escape(title)}</th>' for title, _, align in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{align}" data-head="{escape(title)}">{_cell(cell)}</td>'
            for (title, _, align), cell in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>"
    return f'<div class="table"><table id="{name}" class="{kind}">{head}<tbody>{body}</tbody></table></div>'


def _cell(value: object) -> str:
    tags = "".join(f'<b class="tag">{escape(tag)}</b>' for tag in getattr(value, "tags", ()))
    return f"<span>{escape(str(value))}{tags}</span>"


def _chart(seconds: Sequence[int]) -> str:
    """A bar for each second, the latest to the right."""
    top = max(*seconds, 1)
    heights = [100 * count / top for count in seconds]
    bars = "".join(
        f'<rect x="{10 * number + 1}" y="{100 - height:.1f}" width="8" height="{height:.1f}"/>'
        for number, height in enumerate(heights)
        if height
    )
    return (
        f'<svg viewBox="0 0 {10 * len(seconds)} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="calls in each of the last {len(seconds)} seconds, at most {top}">{bars}</svg>'
        f'<div class="axis soft"><span>{len(seconds)} s ago</span><span>at most {max(seconds):,}</span>'
        "<span>now</span></div>"
    )


def _domains(counts: dict[str, int] | None) -> str:
    if counts is None:
        return '<p class="soft" id="domains">The driver does not tell.</p>'
    rows = [(state, f"{count:,}") for state, count in counts.items() if count]
    return _table("domains", ("state", "domains:n"), rows, "There are none.")


# -- values as people read them ------------------------------------------------------------------------------


def _moment(when: float) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M} UTC"


def _clock(when: float) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%H:%M:%S}"


def _seconds(value: float) -> str:
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def _bytes(value: int | None) -> str:
    return "unknown" if value is None else f"{value / (1 << 20):,.1f} MiB"


def _span(seconds: float) -> str:
    whole = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
