"""Rows, and the table that is made of them."""

from dataclasses import asdict, dataclass

from .load import Measured

MISSING = "missing"


@dataclass
class Row:
    what: str
    ours: str
    beside: str = ""
    ratio: str = ""
    target: str = ""
    met: bool | None = None

    def as_json(self) -> dict:
        return asdict(self)


def table(rows: list[Row]) -> str:
    lines = [
        "| | Deputize | beside it, in the same run | ratio | target | met |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        lines.append(f"| {row.what} | {row.ours} | {row.beside} | {row.ratio} | {row.target} | {met} |")
    return "\n".join(lines)


def rate(measured: Measured) -> str:
    low, high = measured.spread("per_second")
    return f"{measured.median('per_second'):,.0f}/s ({low:,.0f} to {high:,.0f}), {percentiles(measured)}"


def percentiles(measured: Measured) -> str:
    return f"p50 {milliseconds(measured.median('p50_ms'))}, p99 {milliseconds(measured.median('p99_ms'))}"


def milliseconds(value: float) -> str:
    return f"{value:.2f} ms" if abs(value) < 10 else f"{value:.1f} ms"


def times(ratio: float) -> str:
    return f"{ratio:.2g}×" if ratio < 10 else f"{ratio:,.0f}×"
