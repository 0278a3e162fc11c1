"""Looks at a picture and tells whether it shows what a caption asks for: colours, shapes, sizes, places, relations.

Nothing is learned and nothing of the renderer is used: colours are named by prototypes in CIE Lab, shapes by comparing
outlines with polygons drawn here, the background by the colours of the picture's border. It reads the expectations of
``held_out.json``. ``python -m training.judge`` checks it on the renderer's own pictures.
"""
import functools
import math

import numpy as np
from scipy import ndimage

# What a person would call by the name: a few sRGB prototypes each, in the light and in the shade.
PROTOTYPES = {
    "red": [(225, 45, 45), (180, 35, 35), (245, 80, 70)],
    "orange": [(250, 145, 40), (205, 112, 24), (255, 165, 80)],
    "yellow": [(252, 215, 55), (212, 178, 40), (255, 232, 110)],
    "green": [(60, 165, 70), (45, 128, 55), (95, 195, 105)],
    "blue": [(50, 100, 215), (40, 80, 170), (85, 135, 240)],
    "purple": [(138, 72, 186), (108, 56, 148), (165, 100, 212)],
    "pink": [(245, 142, 188), (205, 118, 155), (252, 172, 208)],
    "brown": [(135, 85, 48), (104, 65, 36), (160, 108, 68)],
    "white": [(250, 250, 250), (215, 215, 213), (235, 235, 235)],
    "black": [(36, 36, 40), (22, 22, 26), (64, 64, 70)],
}
NAMES = list(PROTOTYPES)
SCALE = 4  # pictures are enlarged before outlines are compared
TEMPLATE = 48


def lab(rgb):
    """sRGB 0..255 (..., 3) -> CIE Lab (D65)."""
    c = np.asarray(rgb, np.float64) / 255
    c = np.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)
    xyz = c @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]]) / (0.9505, 1, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def distance(a, b):
    """Colour difference with lightness at .6: the same paint in light and shade stays close."""
    d = a - b
    return np.sqrt((0.6 * d[..., 0]) ** 2 + d[..., 1] ** 2 + d[..., 2] ** 2)


PALETTE = np.stack([lab(PROTOTYPES[n]) for n in NAMES])  # (10, 3, 3)


# -- shapes -------------------------------------------------------------------------------------------------------------
def polar(points):
    return [(r * math.sin(a), -r * math.cos(a)) for r, a in points]


def polygon(name):
    """Outline of a shape as (x, y) points, y down."""
    turn = 2 * math.pi
    if name in ("circle", "ring"):
        return polar([(1, turn * i / 64) for i in range(64)])
    if name == "square":
        return [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    if name == "triangle":
        return [(0, -1), (1, 0.62), (-1, 0.62)]
    if name == "diamond":
        return [(0, -1.1), (1, 0), (0, 1.1), (-1, 0)]
    if name == "star":
        return polar([(1.0 if i % 2 == 0 else 0.46, turn * i / 10) for i in range(10)])
    if name == "cross":
        w = 0.34
        return [(-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w), (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w)]
    if name == "heart":  # the well-known parametric heart
        t = np.linspace(0, turn, 96, endpoint=False)
        return list(zip(16 * np.sin(t) ** 3 / 16, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16))
    if name == "moon":  # two arcs, the open side to the upper right
        outer = [(-0.05 + 0.98 * math.cos(a), 0.98 * math.sin(a)) for a in np.linspace(0.48, turn - 0.98, 64)]
        inner = [(0.45 + 0.8 * math.cos(a), -0.12 + 0.8 * math.sin(a)) for a in np.linspace(turn - 1.62, 1.29, 64)]
        return outer + inner
    raise KeyError(name)


def fill_polygon(points, x, y):
    """Even-odd rule for every point of the grids x, y."""
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1]):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def normalize(mask):
    """Cut out of its bounding box and brought to a square; also the box's width over height."""
    ys, xs = np.where(mask)
    box = mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].astype(np.float32)
    h, w = box.shape
    out = ndimage.zoom(box, (TEMPLATE / h, TEMPLATE / w), order=1, grid_mode=True, mode="nearest")
    return np.clip(out[:TEMPLATE, :TEMPLATE], 0, 1), w / h


SHAPES = ["circle", "square", "triangle", "star", "ring", "cross", "heart", "diamond", "moon"]


@functools.cache
def templates():
    """For each shape a list of (mask, aspect): a little turned, with the outline taken off, and with corners rounded, as
    they are where a shape is only a dozen pixels wide."""
    y, x = np.mgrid[-1.4:1.4:240j, -1.4:1.4:240j]
    result = {}
    for name in SHAPES:
        result[name] = []
        for angle in (-0.09, 0, 0.09):
            c, s = math.cos(angle), math.sin(angle)
            mask = fill_polygon(polygon(name), c * x + s * y, -s * x + c * y)
            if name == "ring":
                mask &= x**2 + y**2 > 0.44**2
            for blur in (0, 0.12, 0.2):
                soft = ndimage.gaussian_filter(mask.astype(np.float32), blur * 240 / 2.8) > 0.5
                depth = ndimage.distance_transform_edt(soft) * 2.8 / 240
                result[name] += [normalize(depth > inset) for inset in (0, 0.08, 0.16)]
    return result


def shape_scores(mask):
    """Overlap (intersection over union) with the best template of each shape, less for a wrong aspect."""
    m, aspect = normalize(mask)
    scores = {}
    for name, variants in templates().items():
        scores[name] = max(
            np.minimum(m, t).sum() / np.maximum(m, t).sum() * min(1.0, 1.08 - 0.6 * abs(math.log(aspect / a))) for t, a in variants
        )
    return scores


# -- objects ------------------------------------------------------------------------------------------------------------
class Picture:
    """A picture with its pixels' colour differences to every named colour and to the background."""

    def __init__(self, image):
        self.size = image.shape[0]
        big = ndimage.zoom(image.astype(np.float32), (SCALE, SCALE, 1), order=1, grid_mode=True, mode="nearest")
        self.lab = lab(np.clip(big, 0, 255))
        self.small = lab(image)
        self.named = np.stack([distance(self.lab[:, :, None], p).min(-1) for p in PALETTE], -1)  # (H, W, 10)
        self.background = self.background_distance()

    def background_distance(self):
        """Backgrounds are plain or lie in layers: a pixel is compared with the borders of its own row and its neighbours."""
        edge = 3 * SCALE
        left, right = np.median(self.lab[:, :edge], 1), np.median(self.lab[:, -edge:], 1)
        best = np.full(self.lab.shape[:2], np.inf)
        for shift in (-2 * SCALE, -SCALE, 0, SCALE, 2 * SCALE):
            for side in (left, right):
                row = np.roll(side, shift, 0)
                if shift > 0:
                    row[:shift] = side[0]
                elif shift < 0:
                    row[shift:] = side[-1]
                best = np.minimum(best, distance(self.lab, row[:, None]))
        return best

    def objects(self, color, fill=False):
        """Connected areas of a colour that differ from the background, as dictionaries with box, area and shape."""
        k = NAMES.index(color)
        mask = (self.named[..., k] < 36) & (self.named.argmin(-1) == k) & (self.named[..., k] < 1.2 * self.background)
        mask &= self.background > 9
        labels, n = ndimage.label(mask)
        found, total = [], mask.size
        for i, where in enumerate(ndimage.find_objects(labels), 1):
            part = np.pad(labels[where] == i, 2)
            area = part.sum() / total
            if not 0.004 < area < 0.7:
                continue
            scores = shape_scores(ndimage.binary_fill_holes(part) if fill else part)
            best = max(scores, key=scores.get)
            (y0, y1), (x0, x1) = ((s.start / len(mask), s.stop / len(mask)) for s in where)
            found.append(dict(shape=best, score=scores[best], scores=scores, area=area, x0=x0, x1=x1, y0=y0, y1=y1, x=(x0 + x1) / 2, y=(y0 + y1) / 2))
        return sorted(found, key=lambda f: -f["area"])


# -- relations, places, sizes, background -------------------------------------------------------------------------------
def related(a, b, relation):
    dx, dy = a["x"] - b["x"], a["y"] - b["y"]
    if relation in ("left", "right"):
        return (dx if relation == "right" else -dx) > max(0.1, abs(dy))
    if relation in ("above", "below"):
        return (dy if relation == "below" else -dy) > max(0.1, abs(dx))
    if relation == "on":
        return dy < -0.08 and abs(dx) < 0.15 and abs(a["y1"] - b["y0"]) < 0.2
    return a["x0"] > b["x0"] and a["x1"] < b["x1"] and a["y0"] > b["y0"] and a["y1"] < b["y1"]  # inside


def placed(o, position):
    x = -1 if "left" in position else 1 if "right" in position else 0
    y = -1 if "top" in position else 1 if "bottom" in position else 0

    def fits(v, want):
        return (v - 0.5) * want > 0.1 if want else abs(v - 0.5) < 0.2

    return fits(o["x"], x) and fits(o["y"], y)


def sized(o, size, kind):
    """By the longer side of the box; the bounds lie between the sizes a caption calls small, nothing, large."""
    extent = max(o["x1"] - o["x0"], o["y1"] - o["y0"])
    small, large = (0.33, 0.5) if kind == "one" else (0.29, 0.345)
    return extent < small if size == "small" else extent > large


SKY = {"day": [(84, 162, 236), (150, 200, 245)], "night": [(12, 16, 48), (26, 32, 75)], "sunset": [(118, 70, 140), (175, 115, 125)]}
GROUND = {
    ("grass", "day"): (65, 145, 60), ("grass", "night"): (22, 58, 33), ("grass", "sunset"): (50, 95, 38),
    ("sand", "day"): (225, 190, 125), ("sand", "night"): (82, 76, 70), ("sand", "sunset"): (187, 128, 82),
    ("sea", "day"): (30, 95, 168), ("sea", "night"): (10, 36, 92), ("sea", "sunset"): (24, 60, 112),
    ("snow", "day"): (212, 225, 242), ("snow", "night"): (76, 88, 136), ("snow", "sunset"): (172, 152, 162),
}  # fmt: skip


def background_of(picture):
    """The most likely background: {'color'} or {'sky', 'ground'?}, by the upper and lower corners and borders."""
    n = picture.size
    c = max(3, n // 10)
    top = np.median(np.concatenate([picture.small[:c, : n // 4], picture.small[:c, -n // 4 :]]).reshape(-1, 3), 0)
    bottom = np.median(np.concatenate([picture.small[-c:, : n // 4], picture.small[-c:, -n // 4 :]]).reshape(-1, 3), 0)
    best = {}
    for i, name in enumerate(NAMES):
        d = [distance(v, PALETTE[i]).min() for v in (top, bottom)]
        best[(("color", name),)] = d[0] + d[1] + distance(top, bottom)
    for sky, colors in SKY.items():
        up = min(distance(top, lab(c)) for c in colors)
        low = {"day": (200, 230, 250), "night": (44, 52, 104), "sunset": (255, 176, 98)}[sky]
        best[(("sky", sky),)] = up + distance(bottom, lab(low))
        for ground in ("grass", "sand", "sea", "snow"):
            best[(("sky", sky), ("ground", ground))] = up + distance(bottom, lab(GROUND[ground, sky]))
    return dict(min(best, key=best.get))


def judge(expected, image):
    """An entry of held_out.json and a uint8 picture -> verdicts: {'color', 'shape', 'alone', 'relation'?, ..., 'right'}.

    'alone': nothing is there twice. 'right': every object with its colour and shape, once, and their relation.
    """
    picture, kind = Picture(image), expected["kind"]
    chosen, colors, used, alone = [], [], [], True
    outer = expected.get("relation") == "inside"
    for i, want in enumerate(expected["objects"]):
        found = [f for f in picture.objects(want["color"], fill=outer and i == 1 and want["shape"] != "ring") if f not in used]
        colors.append(bool(found))
        fitting = [f for f in found if f["shape"] == want["shape"] and f["score"] > 0.6]
        chosen.append(fitting[0] if fitting else None)
        used += fitting[:1]
        alone &= len(fitting) < 2
    result = {"color": all(colors), "shape": all(chosen), "alone": alone}
    if kind == "two":
        result["relation"] = bool(all(chosen) and related(*chosen, expected["relation"]))
    for want, got in zip(expected["objects"], chosen):
        if got and "position" in want:
            result["position"] = bool(placed(got, want["position"]))
        if got and "size" in want and not outer:
            result["size"] = bool(sized(got, want["size"], kind)) and result.get("size", True)
    if expected["background"]:
        result["background"] = background_of(picture) == expected["background"]
    result["right"] = result["shape"] and alone and result.get("relation", True)
    return result


def summary(entries, verdicts):
    """Shares in per cent: {'one': .., 'two_objects': .., 'two': .., 'position': .., 'size': .., 'background': ..}."""
    one = [v for e, v in zip(entries, verdicts) if e["kind"] == "one"]
    two = [v for e, v in zip(entries, verdicts) if e["kind"] == "two"]

    def share(rows, key):
        rows = [r[key] for r in rows if key in r]
        return round(100 * float(np.mean(rows)), 1) if rows else None

    return {
        "one_color": share(one, "color"), "one": share(one, "right"), "two_color": share(two, "color"),
        "two_objects": share(two, "shape"), "two": share(two, "right"), "position": share(one, "position"),
        "size": share(one + two, "size"), "background": share(one + two, "background"), "count": len(verdicts),
    }  # fmt: skip


def main():
    import collections

    from .held_out import draw, expectation, ONE, TWO
    from .render import render

    rng, seen, rows = np.random.default_rng(4242), set(), []
    for kinds in (ONE, TWO):
        rows += [(expectation(s, text), render(s)) for s, text in draw(rng, kinds, 150, seen)]
    verdicts = [judge(e, image) for e, image in rows]
    print(summary([e for e, _ in rows], verdicts))
    wrong = collections.Counter()
    for (e, _), v in zip(rows, verdicts):
        if not all(v.values()):
            print([k for k in v if not v[k]], e["prompt"])
            wrong.update(k for k in v if not v[k])
    print(wrong)


if __name__ == "__main__":
    main()
