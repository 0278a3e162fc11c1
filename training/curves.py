"""Draws logged values over time as a small picture: python -m training.curves --out curves.png LOG.jsonl:KEY ..."""
import argparse
import json

from PIL import Image, ImageDraw

COLORS = ["#1f5fd0", "#d0432f", "#2e8b57", "#8a48ba", "#c07d16"]


def read(spec):
    """'file:key' -> key, [(minutes, value)]"""
    file, key = spec.split(":")
    rows = [json.loads(line) for line in open(file)]
    return key, [(r["minutes"], r[key]) for r in rows if key in r]


def panel(draw, box, label, points, color):
    """One curve in its own frame, with its first, last and extreme values written down."""
    x0, y0, x1, y1 = box
    xs, ys = zip(*points)
    low, high = min(ys), max(ys)
    span = (high - low) or 1.0
    draw.rectangle(box, outline="#bbbbbb")
    place = [(x0 + (x - xs[0]) / ((xs[-1] - xs[0]) or 1) * (x1 - x0), y1 - 4 - (y - low) / span * (y1 - y0 - 22)) for x, y in points]
    draw.line(place, fill=color, width=2)
    draw.text((x0 + 4, y0 + 2), f"{label}: {ys[0]:.4g} -> {ys[-1]:.4g}, {xs[-1] - xs[0]:.0f} min", fill="#333333")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curves", nargs="+")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    columns, width, height = 2, 330, 130
    rows = (len(args.curves) + columns - 1) // columns
    page = Image.new("RGB", (columns * width, rows * height), "white")
    draw = ImageDraw.Draw(page)
    for i, spec in enumerate(args.curves):
        x, y = i % columns * width, i // columns * height
        label, points = read(spec)
        panel(draw, (x + 6, y + 6, x + width - 6, y + height - 6), label, points, COLORS[i % len(COLORS)])
    page.save(args.out)


if __name__ == "__main__":
    main()
