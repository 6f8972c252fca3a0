"""A comparison of runs as Markdown, HTML and JSON, with the source of every number, and as a picture."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from gfnet_dynn.errors import MissingExtraError, StorageError
from gfnet_dynn.evaluation.comparison import Figure, Group, Way
from gfnet_dynn.system.storage import require_writable, write_bytes, write_json
from gfnet_dynn.wording import counted

SOURCES = {
    "top-1, macro F1": "measured on the images that the heading names; no epoch, head or threshold was chosen on them",
    "±": "sample standard deviation over runs that differ in their seed alone",
    "MMACs, share": "multiply-accumulates of an image in millions, counted from shapes; the share is of the same "
    "network's full pass; with exits the mean over the images",
    "gates, plain": "one threshold for all exits, chosen on the selection split of training as the last before more "
    "images there than --allowed-loss said get another answer than the full network's, without a guarantee (in runs of "
    "an earlier version: the cheapest that lost no more accuracy there); plain: by largest probability, not by gates",
    "weights": "in millions, of all exits together, counted",
    "training": "minutes in training steps, measured on the machine that trained; without the teacher's own training",
    "exits": "top-1 if every image left there, at so many MMACs; measured and counted as above",
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>GFNet-Dynn: runs compared</title><style>
body {{ font-family: sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; line-height: 1.4 }}
table {{ border-collapse: collapse }}
td, th {{ border-bottom: 1px solid #ccc; padding: 0.3em 0.7em; text-align: right }}
td:first-child, th:first-child {{ text-align: left }} img {{ max-width: 100% }}
</style></head><body>
<h1>Runs compared</h1>
{body}
</body></html>
"""

_MAIN = (
    *("network", "runs", "weights M", "full: top-1 %", "macro F1 %", "MMACs"),
    *("gates: top-1 %", "MMACs (share)", "plain: top-1 %", "MMACs (share)", "training min"),
)
_EXITS = ("network", "top-1 % at MMACs of each exit")


def write_comparison(groups: Sequence[Group], folder: Path) -> list[Path]:
    """Write `comparison.{md,html,json,png}`.

    Args:
        groups: at least one.
        folder: created.

    Returns:
        The files.

    Raises:
        StorageError: a file cannot be written.
    """
    require_writable(folder)
    tables = _tables(groups)
    files = [
        write_bytes(folder / "comparison.md", to_markdown(tables).encode()),
        write_bytes(folder / "comparison.html", _to_html(tables).encode()),
        write_json(folder / "comparison.json", to_dict(groups)),
    ]
    picture = folder / "comparison.png"
    try:
        _draw(groups).savefig(picture, dpi=130)
    except OSError as error:
        raise StorageError(f"cannot save {picture}: {error.strerror}") from error
    return [*files, picture]


Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Heading, column names, rows."""


def _tables(groups: Sequence[Group]) -> list[Table]:
    tables: list[Table] = []
    by_data = sorted(groups, key=lambda group: group.data)  # stable: within a data set the order stays
    for data, members in groupby(by_data, key=lambda group: group.data):
        data_set, part, images, fingerprint = data
        several = list(members)
        heading = f"{data_set}, {counted(images, f'{part} image')} (list {fingerprint[:8]})"
        tables.append((heading, _MAIN, [_main_row(group) for group in several]))
        with_exits = [group for group in several if len(group.exit_macs) > 1]
        if with_exits:
            tables.append((f"{heading}: each exit", _EXITS, [(group.name, _exits(group)) for group in with_exits]))
    return tables


def _main_row(group: Group) -> tuple[str, ...]:
    return (
        group.name,
        str(len(group.runs)),
        f"{group.parameters / 1e6:.2f}",
        group.full.accuracy.text(100),
        group.full.macro_f1.text(100),
        f"{group.full.mean_macs.mean / 1e6:.0f}",
        *_way_cells(group.gates),
        *_way_cells(group.plain),
        group.train_seconds.text(1 / 60),
    )


def _way_cells(way: Way | None) -> tuple[str, str]:
    if way is None:
        return "–", "–"
    return way.accuracy.text(100), f"{way.mean_macs.text(1e-6, 0)} ({way.cost.text(100, 0)} %)"


def _exits(group: Group) -> str:
    pairs = zip(group.exit_accuracy, group.exit_macs, strict=True)
    return " · ".join(f"{accuracy.text(100)} at {macs / 1e6:.0f}" for accuracy, macs in pairs)


def to_markdown(tables: Sequence[Table]) -> str:
    """The tables, then the sources."""
    parts = []
    for heading, columns, rows in tables:
        rule = "|".join(["---", *["---:"] * (len(columns) - 1)])
        lines = [f"## {heading}", "", _line(columns), f"|{rule}|", *(_line(row) for row in rows), ""]
        parts.append("\n".join(lines))
    sources = [f"- {what}: {source}." for what, source in SOURCES.items()]
    return "\n".join(["# Runs compared", "", *parts, "Where the numbers come from:", "", *sources, ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _to_html(tables: Sequence[Table]) -> str:
    parts = []
    for heading, columns, rows in tables:
        head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
        parts.append(f"<h2>{html.escape(heading)}</h2>\n<table><tr>{head}</tr>\n{body}</table>")
    sources = "".join(f"<li>{html.escape(f'{what}: {source}.')}</li>\n" for what, source in SOURCES.items())
    picture = '<p><img src="comparison.png" alt="Accuracy against mean multiply-accumulates"></p>'
    return _PAGE.format(body="\n".join([*parts, picture, f"<h2>Where the numbers come from</h2>\n<ul>{sources}</ul>"]))


def to_dict(groups: Sequence[Group]) -> dict[str, Any]:
    """As JSON values: each group's figures, and the runs that they come from."""
    return {"sources": SOURCES, "groups": [_group_to_dict(group) for group in groups]}


def _group_to_dict(group: Group) -> Mapping[str, Any]:
    data_set, part, images, fingerprint = group.data
    return {
        "name": group.name,
        "data": {"data_set": data_set, "part": part, "images": images, "fingerprint": fingerprint},
        "choices": dict(group.runs[0].choices),
        "seeds": [run.seed for run in group.runs],
        "parameters": group.parameters,
        "full": asdict(group.full),
        "gates": asdict(group.gates) if group.gates else None,
        "plain": asdict(group.plain) if group.plain else None,
        "exits": [
            {"macs": macs, "accuracy": asdict(accuracy)}
            for macs, accuracy in zip(group.exit_macs, group.exit_accuracy, strict=True)
        ],
        "train_seconds": asdict(group.train_seconds),
    }


def _draw(groups: Sequence[Group]) -> Any:
    try:
        from matplotlib.figure import Figure as Canvas  # noqa: PLC0415 # slow to import
    except ImportError as error:
        raise MissingExtraError("drawing plots", "train") from error
    figure = Canvas(figsize=(9, 5 + 0.22 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for index, group in enumerate(groups):
        colour = f"C{index % 10}"
        label = textwrap.fill(f"{group.name} ({group.data[0]})", 130)
        if len(group.exit_macs) == 1:
            _mark(axes, group.full, "s", colour, label)
            continue
        curve = sorted(
            (judgement["mean_macs"] / 1e6, 100 * judgement["accuracy"])
            for judgement in group.runs[0].evaluation["sweep"]
        )
        axes.plot(*zip(*curve, strict=True), "-", color=colour, label=label)
        for way, marker in ((group.gates, "*"), (group.plain, "^")):
            if way is not None:
                _mark(axes, way, marker, colour)
    axes.set(xlabel="mean MACs of an image (millions, counted)", ylabel="top-1 accuracy (%, measured)")
    axes.set_title("■ static   — gates of the first run, swept   ★ gates, ▲ plain, as chosen on selection", fontsize=9)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=7)
    return figure


def _mark(axes: Any, way: Way, marker: str, colour: str, label: str | None = None) -> None:
    x, y = _scaled(way.mean_macs, 1e-6), _scaled(way.accuracy, 100)
    axes.errorbar([x[0]], [y[0]], xerr=x[1], yerr=y[1], fmt=marker, color=colour, markersize=9, label=label)


def _scaled(figure: Figure, scale: float) -> tuple[float, float | None]:
    return scale * figure.mean, None if figure.deviation is None else scale * figure.deviation
