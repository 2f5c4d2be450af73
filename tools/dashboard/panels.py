"""Asks Prometheus every query of the chart's Grafana dashboard, fails where one errs or answers nothing, and draws what it answered as one page."""

import argparse
import html
import json
import math
import pathlib
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

COLOURS = ["#3366cc", "#cc4125", "#3c9d4e", "#b07d00", "#8e44ad", "#00838f", "#ad1457", "#5d6d7e", "#795548", "#2e4482"]
COLUMN, ROW = 52, 30  # what a unit of Grafana's grid takes in pixels


def ask(address, path, **parameters):
    url = f"{address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)["data"]["result"], None
    except urllib.error.HTTPError as error:
        return [], json.load(error)["error"]


def as_asked(expression, interval):
    """The query as Grafana sends it with all namespaces chosen."""
    return expression.replace("$namespace", ".+").replace("$__rate_interval", interval)


def legend(target, labels):
    text = target.get("legendFormat") or ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def shown(value, unit):
    if unit == "percentunit":
        return f"{value:.0%}"
    if unit == "currencyUSD":
        return f"${value:,.2f}"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return text + {"s": " s", "reqps": "/s", "ops": "/s"}.get(unit, "")


def read(address, panel, window, interval):
    """Lines of a panel: legend and points; and what is wrong."""
    now, lines, wrong = time.time(), [], []
    for target in panel["targets"]:
        expression = as_asked(target["expr"], interval)
        if panel["type"] == "stat":
            result, error = ask(address, "query", query=expression, time=now)
            series = [(one["metric"], [one["value"]]) for one in result]
        else:
            result, error = ask(address, "query_range", query=expression, start=now - window, end=now, step=max(1, window // 120))
            series = [(one["metric"], one["values"]) for one in result]
        numbers = [(labels, [(float(at), float(value)) for at, value in points if math.isfinite(float(value))]) for labels, points in series]
        numbers = [(legend(target, labels), points) for labels, points in numbers if points]
        if error or not numbers:
            wrong.append(f"{panel['title']}: {error or 'no data'}: {expression}")
        lines += numbers
    return lines, wrong


def chart(panel, lines, width, height):
    unit = panel["fieldConfig"]["defaults"].get("unit")
    if panel["type"] == "stat":
        told = [name if panel["title"] == "Version" else shown(points[-1][1], unit) for name, points in lines]
        return f'<p class="stat">{html.escape(" ".join(told) or "no data")}</p>'
    points = [point for _, line in lines for point in line]
    if not points:
        return '<p class="stat">no data</p>'
    left, bottom, key = 58, height - 44, 18
    first, last = min(at for at, _ in points), max(at for at, _ in points)
    top = max(max(value for _, value in points), 1e-9)
    across = lambda at: left + (at - first) / max(last - first, 1) * (width - left - 12)
    up = lambda value: bottom - value / top * (bottom - key)
    parts = [f'<svg width="{width}" height="{height}">']
    for share in (0, 0.5, 1):
        parts.append(f'<line class="grid" x1="{left}" x2="{width - 12}" y1="{up(top * share):.1f}" y2="{up(top * share):.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{up(top * share) + 4:.1f}" text-anchor="end">{html.escape(shown(top * share, unit))}</text>')
    x, y = left, height - 22
    for index, (name, line) in enumerate(lines[:12]):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in line)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{path}"/>')
        taken = 16 + 6.2 * len(name[:38])
        if x + taken > width:
            x, y = left, y + 14
        parts.append(f'<rect x="{x}" y="{y - 8}" width="9" height="9" fill="{colour}"/><text x="{x + 13}" y="{y}">{html.escape(name[:38])}</text>')
        x += taken
    return "".join(parts) + "</svg>"


def page(dashboard, drawn):
    boxes = []
    for panel, lines in drawn:
        at = panel["gridPos"]
        width, height = at["w"] * COLUMN - 10, at["h"] * ROW - 10
        inner = chart(panel, lines, width - 20, height - 38)
        style = f'left:{at["x"] * COLUMN}px;top:{at["y"] * ROW}px;width:{width}px;height:{height}px'
        boxes.append(f'<section style="{style}"><h2>{html.escape(panel["title"])}</h2>{inner}</section>')
    depth = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel, _ in drawn) * ROW
    return f"""<!doctype html><meta charset="utf-8"><title>{html.escape(dashboard["title"])}</title>
<style>body{{font:11px system-ui,sans-serif;background:#f4f5f7;color:#222;margin:10px}} main{{position:relative;height:{depth}px;width:{24 * COLUMN}px}}
section{{position:absolute;background:#fff;border:1px solid #d8dbe0;border-radius:3px;padding:6px 10px;box-sizing:border-box;overflow:hidden}}
h2{{font-size:12px;margin:0 0 4px}} .stat{{font-size:26px;margin:18px 0;text-align:center}} text{{font-size:10px;fill:#444}} .grid{{stroke:#e4e6ea}}</style>
<main>{"".join(boxes)}</main>"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", required=True, help="address of the server")
    parser.add_argument("--window", type=int, default=120, help="seconds to look back")
    parser.add_argument("--rate-interval", default="20s", help="what $__rate_interval is")
    parser.add_argument("--page", type=pathlib.Path, help="where to write the page")
    arguments = parser.parse_args()
    dashboard = json.loads(pathlib.Path("charts/encrypted-queue-operator/files/dashboard.json").read_text())
    drawn, wrong, queries = [], [], 0
    for panel in dashboard["panels"]:
        lines, errors = read(arguments.prometheus, panel, arguments.window, arguments.rate_interval)
        drawn.append((panel, lines))
        wrong += errors
        queries += len(panel["targets"])
    if arguments.page:
        arguments.page.write_text(page(dashboard, drawn))
    for error in wrong:
        print(error, file=sys.stderr)
    print(f"dashboard: {len(drawn)} panels, {queries} queries, {queries - len(wrong)} answered with data")
    sys.exit(1 if wrong else 0)


main()
