"""Samples scenes: what stands where, in which colour and size, on which background.

A scene is a dictionary:
    kind   'one' | 'two' | 'many' (n equal objects) | 'three' (a row of different ones) | 'free' (anything anywhere, without a caption)
    bg     'plain' with bgc (colour), or 'land' with ground, sky and h (height of the horizon)
    objs   list of {shape, color, size ('small' | '' | 'large'), r, x, y, rot}, in drawing order
    seed   of the background's details (clouds, stars, waves)
    rel, a for 'two': relation of object ``a`` to the other one
    pos    for 'one': where it stands in the picture ('center', 'top left', ...)
    place  'on' the ground or 'over' it, where that is meant to be said

Layouts keep what a caption says visible: gaps between objects, room at the borders, no object in a colour that its
background swallows.
"""
import numpy as np

from .render import COLORS
from .shapes import EXTENT, SHAPES

COLOR_NAMES = list(COLORS)
GROUNDS = ["grass", "sand", "sea", "snow", "none"]
SKY_NAMES = ["day", "night", "sunset"]
RELATIONS = ["left", "right", "above", "below", "on", "inside"]
POSITIONS = ["left", "right", "top", "bottom", "top left", "top right", "bottom left", "bottom right"]
SIZES = ["small", "", "large"]

# Object colours that do not stand out against a plain colour, a ground or a sky.
LOST_ON_PLAIN = {"black": {"brown"}, "brown": {"black"}}
LOST_ON_GROUND = {"grass": {"green"}, "sand": {"yellow", "white"}, "sea": {"blue"}, "snow": {"white"}, "none": set()}
LOST_IN_SKY = {"day": {"blue", "white"}, "night": {"black", "blue", "purple"}, "sunset": {"orange", "pink", "purple"}}
# Colours that do not stand out on each other (for touching objects).
CLASH = {
    "red": {"orange", "pink", "brown"}, "orange": {"red", "yellow", "brown"}, "yellow": {"orange", "white"},
    "green": set(), "blue": {"purple"}, "purple": {"blue", "pink"}, "pink": {"red", "purple", "white"},
    "brown": {"orange", "red", "black"}, "white": {"yellow", "pink"}, "black": {"brown"},
}  # fmt: skip

SINGLE_RADIUS = {"small": (0.115, 0.145), "": (0.18, 0.25), "large": (0.30, 0.37)}
PAIR_RADIUS = {"small": (0.115, 0.135), "": (0.16, 0.185), "large": (0.205, 0.225)}
KINDS = ["one", "two", "many", "three"]
KIND_WEIGHTS = [0.34, 0.52, 0.08, 0.06]


class Sampler:
    """Draws one scene after the other from a numpy generator."""

    def __init__(self, rng, kinds=KIND_WEIGHTS):
        self.rng, self.kinds = rng, kinds

    # -- small draws ------------------------------------------------------------------------------------------------
    def choice(self, items, p=None):
        return items[int(self.rng.choice(len(items), p=p))]

    def uniform(self, low, high):
        return float(self.rng.uniform(low, high))

    def jitter(self, a):
        return self.uniform(-a, a) if a > 0 else 0.0

    def color(self, *without):
        return self.choice([c for c in COLOR_NAMES if c not in self.lost and c not in without])

    def shape(self, *without):
        return self.choice([s for s in SHAPES if s not in without])

    def object(self, shape, color, size, radius):
        return dict(shape=shape, color=color, size=size, r=self.uniform(*radius), rot=self.jitter(0.09), x=0.5, y=0.5)

    # -- background ---------------------------------------------------------------------------------------------------
    def background(self):
        scene = {"seed": int(self.rng.integers(1 << 30)), "objs": []}
        if self.rng.random() < 0.55:
            scene.update(bg="plain", bgc=self.choice(COLOR_NAMES))
            self.lost = {scene["bgc"]} | LOST_ON_PLAIN.get(scene["bgc"], set())
        else:
            ground = self.choice(GROUNDS, [0.24, 0.20, 0.24, 0.14, 0.18])
            sky = self.choice(SKY_NAMES, [0.45, 0.32, 0.23])
            scene.update(bg="land", ground=ground, sky=sky, h=self.uniform(0.62, 0.74))
            self.lost = LOST_ON_GROUND[ground] | LOST_IN_SKY[sky]
        self.has_ground = scene["bg"] == "land" and scene["ground"] != "none"
        return scene

    def scene(self, kind=None):
        scene = self.background()
        scene["kind"] = kind or self.choice(KINDS, self.kinds)
        getattr(self, scene["kind"])(scene)
        for obj in scene["objs"]:
            obj["x"], obj["y"] = float(obj["x"]), float(obj["y"])
        return scene

    # -- kinds --------------------------------------------------------------------------------------------------------
    def one(self, scene):
        size = self.choice(SIZES, [0.27, 0.43, 0.30])
        o = self.object(self.shape(), self.color(), size, SINGLE_RADIUS[size])
        scene.update(objs=[o], pos="center")
        e, h = 1.12 * o["r"], scene.get("h")
        if self.has_ground and self.rng.random() < 0.6:
            if self.rng.random() < 0.5 or o["r"] > 0.26:
                scene["place"] = "on"
                o["x"] = self.uniform(max(e, 0.3), min(1 - e, 0.7))
                o["y"] = min(h + self.uniform(0.04, 0.16), 0.97) - EXTENT[o["shape"]][2] * o["r"]
                o["rot"] = 0.0
            else:
                scene["place"] = "over"
                o["x"] = self.uniform(max(e, 0.25), min(1 - e, 0.75))
                o["y"] = self.uniform(e, max(e + 0.02, h - e - 0.04))
        elif self.rng.random() < 0.35 and o["r"] < 0.26:
            where = scene["pos"] = self.choice(POSITIONS)
            low, high = e + 0.02, e + 0.07
            if "left" in where or "right" in where:
                o["x"] = self.uniform(low, high)
            if "right" in where:
                o["x"] = 1 - o["x"]
            if "top" in where or "bottom" in where:
                o["y"] = self.uniform(low, high)
            if "bottom" in where:
                o["y"] = 1 - o["y"]
            if where in ("left", "right"):
                o["y"] += self.jitter(0.05)
            if where in ("top", "bottom"):
                o["x"] += self.jitter(0.05)
        else:
            j = min(0.06, max(0, 0.5 - e))
            o["x"] += self.jitter(j)
            o["y"] += self.jitter(j)

    def two(self, scene):
        rel = scene["rel"] = self.choice(RELATIONS, [0.19, 0.19, 0.19, 0.19, 0.13, 0.11])
        touching = rel in ("on", "inside")
        sizes = [self.choice(SIZES, [0.30, 0.40, 0.30]) for _ in range(2)]
        if rel == "inside":
            sizes = [self.choice(["small", ""]), self.choice(["large", ""])]
        c1 = self.color()
        c2 = self.color(c1, *(CLASH[c1] if touching else ())) if touching or self.rng.random() < 0.94 else c1
        s1 = self.shape()
        s2 = self.shape() if self.rng.random() < 0.15 and c1 != c2 else self.shape(s1)
        if rel == "inside":
            s2 = self.choice(["circle", "square", "heart", "diamond"], [0.34, 0.34, 0.16, 0.16])
        if rel == "on":
            s2 = self.choice(["square", "circle", "triangle", "diamond", "heart", "star", "cross"],
                             [0.28, 0.16, 0.12, 0.12, 0.12, 0.08, 0.12])  # fmt: skip
        if touching and s1 == s2:
            s1 = self.shape(s2)
        a = self.object(s1, c1, sizes[0], PAIR_RADIUS[sizes[0]])
        b = self.object(s2, c2, sizes[1], PAIR_RADIUS[sizes[1]])
        getattr(self, {"right": "left", "below": "above"}.get(rel, rel))(scene, a, b, rel)
        scene["objs"], scene["a"] = ([b, a], 1) if rel == "inside" else ([a, b], 0)

    def left(self, scene, a, b, rel):
        """Side by side, with a clear gap."""
        ea, eb = EXTENT[a["shape"]], EXTENT[b["shape"]]
        need = 2 * (ea[0] * a["r"] + eb[0] * b["r"])
        total = need + min(self.uniform(0.05, 0.14), 0.99 - need)
        margin = (1 - total) / 2
        shift = self.jitter(max(0, min(0.05, margin - 0.02)))
        a["x"] = margin + ea[0] * a["r"] + shift
        b["x"] = 1 - margin - eb[0] * b["r"] + shift
        y = 0.5 + self.jitter(0.06)
        a["y"], b["y"] = y + self.jitter(0.04), y + self.jitter(0.04)
        if self.has_ground and self.rng.random() < 0.4:
            scene["place"] = "on"
            base = min(scene["h"] + self.uniform(0.05, 0.14), 0.96)
            for o, e in ((a, ea), (b, eb)):
                o["y"], o["rot"] = base - e[2] * o["r"], 0.0
        if rel == "right":
            a["x"], b["x"] = 1 - a["x"], 1 - b["x"]

    def above(self, scene, a, b, rel):
        """One over the other, with a clear gap."""
        up, down = (a, b) if rel == "above" else (b, a)
        eu, ed = EXTENT[up["shape"]], EXTENT[down["shape"]]
        need = (eu[1] + eu[2]) * up["r"] + (ed[1] + ed[2]) * down["r"]
        total = need + min(self.uniform(0.05, 0.13), 0.99 - need)
        margin = (1 - total) / 2
        shift = self.jitter(max(0, min(0.05, margin - 0.02)))
        up["y"] = margin + shift + eu[1] * up["r"]
        down["y"] = 1 - margin + shift - ed[2] * down["r"]
        x = 0.5 + self.jitter(0.1)
        a["x"], b["x"] = x + self.jitter(0.04), x + self.jitter(0.04)

    def on(self, scene, a, b, rel):
        """Object a rests on object b."""
        ea, eb = EXTENT[a["shape"]], EXTENT[b["shape"]]
        a["rot"] = b["rot"] = 0.0
        top = 0.62 if b["shape"] == "heart" else eb[1]
        total = (ea[1] + ea[2]) * a["r"] + (eb[1] + eb[2]) * b["r"]
        a["y"] = (1 - total) / 2 + self.jitter(0.03) + ea[1] * a["r"]
        b["y"] = a["y"] + ea[2] * a["r"] + top * b["r"] - 0.012
        a["x"] = b["x"] = 0.5 + self.jitter(0.12)
        if self.has_ground:
            base = min(scene["h"] + self.uniform(0.05, 0.16), 0.96)
            lift = max(base - (b["y"] + eb[2] * b["r"]), 0.01 - (a["y"] - ea[1] * a["r"]))
            a["y"], b["y"] = a["y"] + lift, b["y"] + lift

    def inside(self, scene, a, b, rel):
        """Object a in the middle of object b."""
        b["r"] = self.uniform(0.37, 0.42) if b["size"] == "large" else self.uniform(0.31, 0.36)
        a["r"] = b["r"] * (self.uniform(0.38, 0.42) if a["size"] == "small" else self.uniform(0.44, 0.50))
        if b["shape"] == "diamond":
            a["r"] *= 0.88
        b["x"], b["y"] = 0.5 + self.jitter(0.05), 0.5 + self.jitter(0.04)
        a["x"], a["y"] = b["x"] + self.jitter(0.012), b["y"] + self.jitter(0.012)
        if b["shape"] == "heart":
            a["y"] -= 0.05 * b["r"]

    def many(self, scene):
        n = scene["n"] = self.choice([2, 2, 3, 3, 4])
        shape, color, size = self.shape(), self.color(), self.choice(["small", ""])
        r = {2: 0.17, 3: 0.14, 4: 0.115}[n] * (0.76 if size == "small" else 1)
        gap = (1 - 2 * n * r) / (n + 1)
        if size == "small":
            gap = min(gap, 0.08)
        x, y = 0.5 - (n * 2 * r + (n - 1) * gap) / 2 + r, 0.5 + self.jitter(0.08)
        for _ in range(n):
            o = self.object(shape, color, size, (0.95 * r, 1.05 * r))
            o["x"], o["y"] = x, y + self.jitter(0.03)
            scene["objs"].append(o)
            x += 2 * r + gap

    def three(self, scene):
        colors, shapes = [], []
        for i in range(3):
            colors.append(self.color(*colors))
            shapes.append(self.shape(*shapes))
            o = self.object(shapes[i], colors[i], "", (0.125, 0.145))
            o["x"], o["y"] = (0.18, 0.5, 0.82)[i] + self.jitter(0.02), 0.5 + self.jitter(0.05)
            scene["objs"].append(o)

    def free(self, scene):
        """One to four objects wherever there is room: what models that are told places and outlines have to follow."""
        count = self.choice([1, 2, 2, 3, 3, 4])
        for _ in range(20 * count):
            o = self.object(self.shape(), self.color(), "", (0.11, 0.3 if count < 3 else 0.2))
            side, up, down = (e * o["r"] + 0.015 for e in EXTENT[o["shape"]])
            o["x"], o["y"] = self.uniform(side, 1 - side), self.uniform(up, 1 - down)
            box = (o["x"] - side, o["y"] - up, o["x"] + side, o["y"] + down)
            if len(scene["objs"]) < count and not any(overlap(box, extent_box(other)) for other in scene["objs"]):
                scene["objs"].append(o)


def extent_box(o):
    """The box of an object, as it stands upright: left, top, right, bottom."""
    side, up, down = (e * o["r"] for e in EXTENT[o["shape"]])
    return o["x"] - side, o["y"] - up, o["x"] + side, o["y"] + down


def overlap(a, b):
    return max(a[0], b[0]) < min(a[2], b[2]) and max(a[1], b[1]) < min(a[3], b[3])


def sample(rng, kinds=KIND_WEIGHTS):
    """One scene from a numpy generator."""
    return Sampler(rng, kinds).scene()
