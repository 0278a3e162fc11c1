"""Draws logged values as a small picture: python -m training.curves --out curves.png "LOG.jsonl[,LOG.jsonl...]:KEY[:TITLE]" ...

Over the samples seen where a log counts them, else over minutes. Several logs of one curve are runs that followed each other.
"""
import argparse
import json
import math

from PIL import Image, ImageDraw, ImageFont

COLORS = ["#1f5fd0", "#d0432f", "#2e8b57", "#8a48ba", "#c07d16"]
WIDTH, HEIGHT, COLUMNS = 440, 230, 2


def read(spec):
    """-> title, what the horizontal axis counts, [(x, value)]"""
    files, key, *title = spec.split(":")
    rows, before = [], 0.0
    for file in files.split(","):
        part = [json.loads(line) for line in open(file)]
        part = [r for r in part if key in r]
        seen = all("seen" in r for r in part)
        rows += [(r["seen"] / 1000 if seen else before + r["minutes"], r[key]) for r in part]
        before = rows[-1][0]
    return title[0] if title else key, "thousand samples" if seen else "minutes", rows


def ticks(low, high, count=4):
    """Round numbers from low to high, some ``count`` of them."""
    span = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= min((1, 2, 5, 10), key=lambda f: abs(span / (step * f) - count))
    first = -(-low // step)
    return [step * (first + i) for i in range(int((high - first * step) / step + 1e-9) + 1)]


def panel(draw, origin, spec, color):
    """One curve with its axes; its first and last value stand in the title."""
    title, unit, points = read(spec)
    xs, ys = zip(*points)
    x0, y0, x1, y1 = origin[0] + 62, origin[1] + 30, origin[0] + WIDTH - 16, origin[1] + HEIGHT - 40
    low, high = min(ys), max(ys)
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)

    def place(x, y):
        return x0 + (x - xs[0]) / ((xs[-1] - xs[0]) or 1) * (x1 - x0), y1 - (y - low) / ((high - low) or 1) * (y1 - y0)

    small, large = ImageFont.load_default(12), ImageFont.load_default(14)
    for y in ticks(low, high):
        v = place(xs[0], y)[1]
        draw.line([(x0, v), (x1, v)], fill="#e4e4e4")
        draw.text((x0 - 6, v), f"{y:.4g}", fill="#444444", font=small, anchor="rm")
    for x in ticks(xs[0], xs[-1], 6):
        u = place(x, low)[0]
        draw.line([(u, y1), (u, y1 + 4)], fill="#888888")
        draw.text((u, y1 + 6), f"{x:.4g}", fill="#444444", font=small, anchor="mt")
    draw.rectangle((x0, y0, x1, y1), outline="#888888")
    draw.line([place(*p) for p in points], fill=color, width=2)
    draw.text((x0, y0 - 8), f"{title}: {ys[0]:.4g} to {ys[-1]:.4g}", fill="#111111", font=large, anchor="lb")
    draw.text(((x0 + x1) / 2, y1 + 22), unit, fill="#444444", font=small, anchor="mt")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", nargs="+")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    rows = (len(args.curves) + COLUMNS - 1) // COLUMNS
    page = Image.new("RGB", (COLUMNS * WIDTH, rows * HEIGHT), "white")
    draw = ImageDraw.Draw(page)
    for i, spec in enumerate(args.curves):
        panel(draw, (i % COLUMNS * WIDTH, i // COLUMNS * HEIGHT), spec, COLORS[i % len(COLORS)])
    page.quantize(64).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
