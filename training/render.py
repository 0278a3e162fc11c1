"""Draws a scene: background first, then the objects in order, anti-aliased, with outline, light and soft shadow.

A scene is a plain dictionary (see ``scene.py``). All lengths are fractions of the picture's side, ``y`` goes down.
"""
import numpy as np

from .shapes import distance

COLORS = {
    "red": (222, 52, 48), "orange": (245, 142, 36), "yellow": (250, 214, 52), "green": (64, 168, 72),
    "blue": (52, 102, 214), "purple": (138, 72, 186), "pink": (244, 142, 186), "brown": (134, 84, 48),
    "white": (246, 246, 244), "black": (36, 36, 42),
}  # fmt: skip

SKIES = {
    "day": ((84, 162, 236), (200, 230, 250)),
    "night": ((12, 16, 48), (44, 52, 104)),
    "sunset": ((118, 70, 140), (255, 176, 98)),
}
GROUND_COLORS = {
    "grass": ((112, 190, 84), (58, 138, 56)),
    "sand": ((246, 222, 164), (222, 184, 118)),
    "sea": ((66, 150, 206), (22, 84, 160)),
    "snow": ((250, 252, 255), (206, 220, 240)),
}
DAYLIGHT = {"day": 1.0, "night": 0.42, "sunset": 0.74}
TINT = {"day": (1, 1, 1), "night": (0.85, 0.95, 1.35), "sunset": (1.12, 0.92, 0.9)}

_grids = {}


def grid(size):
    """Pixel centres as two (size, size) arrays X, Y in 0..1."""
    if size not in _grids:
        v = (np.arange(size, dtype=np.float32) + 0.5) / size
        _grids[size] = np.meshgrid(v, v)
    return _grids[size]


def smoothstep(a, b, v):
    t = np.clip((v - a) / (b - a), 0, 1)
    return t * t * (3 - 2 * t)


def blend(image, color, alpha):
    """image += (color - image) * alpha, in place."""
    image += (np.asarray(color, np.float32) - image) * alpha[..., None]


def frame_of(obj, size):
    """Pixel centres in an object's own frame, turned and in units of its radius."""
    X, Y = grid(size)
    x, y = (X - obj["x"]) / obj["r"], (Y - obj["y"]) / obj["r"]
    angle = obj.get("rot", 0.0)
    if angle:
        c, s = np.cos(angle), np.sin(angle)
        x, y = c * x + s * y, -s * x + c * y
    return x, y


def draw_object(image, obj, size):
    """Draws one object over the picture: shadow, outline, then the lit fill."""
    r, pixel = obj["r"], 1.0 / size
    x, y = frame_of(obj, size)
    shape = obj["shape"]
    shadow = distance(shape, x - 0.10, y - 0.16) * r
    blend(image, (10, 12, 30), 0.30 * smoothstep(0.03, -0.03, shadow))

    color = np.array(COLORS[obj["color"]], np.float32)
    outline = {"black": (92, 92, 104), "white": (150, 152, 164)}.get(obj["color"], color * 0.52)
    d = distance(shape, x, y) * r
    blend(image, outline, np.clip(0.5 - d / pixel, 0, 1))

    inside = np.clip(0.5 - (d + max(0.014, r * 0.07)) / pixel, 0, 1)
    light = np.clip(1.02 - 0.20 * (x * 0.45 + y * 0.9), 0.75, 1.25)[..., None]
    gloss = 0 if obj["color"] == "white" else 14
    spot = np.exp(-((x + 0.35) ** 2 + (y + 0.4) ** 2) / 0.12)[..., None]
    blend(image, np.clip(color * light + gloss * spot * 2.2, 0, 255), inside)


def plain_background(scene, size):
    """One colour, a little duller than objects of that colour, slightly darker towards the corners."""
    X, Y = grid(size)
    name = scene["bgc"]
    base = {"white": (240, 240, 238), "black": COLORS["black"]}.get(name, COLORS[name])
    color = np.array(base, np.float32) * 0.86 + 12.8
    if name == "black":
        color = np.array((30, 30, 34), np.float32)
    image = np.broadcast_to(color, (size, size, 3)).astype(np.float32)
    image = image * (1.06 - 0.22 * ((X - 0.5) ** 2 + (Y - 0.5) ** 2) - 0.06 * (Y - 0.5))[..., None]
    return np.clip(image, 0, 255)


def sky(scene, size, rng, horizon):
    X, Y = grid(size)
    top, bottom = (np.array(c, np.float32) for c in SKIES[scene["sky"]])
    f = np.clip(Y / horizon, 0, 1)[..., None]
    image = top * (1 - f) + bottom * f
    if scene["sky"] == "day":
        for _ in range(rng.integers(1, 4)):
            cx, cy, s = rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.45 * horizon + 0.05), rng.uniform(0.05, 0.10)
            for k in (-1, 0, 1):  # a cloud is three puffs
                dx = (X - cx - k * s * 0.9) / (s * 1.1)
                dy = (Y - cy - abs(k) * s * 0.18) / (s * (0.75 if k == 0 else 0.5))
                blend(image, (250, 252, 255), 0.75 * smoothstep(1.1, 0.55, np.sqrt(dx * dx + dy * dy)))
    elif scene["sky"] == "night":
        for _ in range(rng.integers(14, 24)):
            cx, cy, s = rng.uniform(0, 1), rng.uniform(0, horizon * 0.95), rng.uniform(0.006, 0.011)
            star = np.exp(-((X - cx) ** 2 + (Y - cy) ** 2) / (s * s))
            blend(image, (255, 250, 225), rng.uniform(0.5, 1) * star)
    else:
        for _ in range(rng.integers(1, 4)):
            cy, cx = rng.uniform(0.1, 0.7) * horizon, rng.uniform(0.2, 0.8)
            band = np.sqrt(((X - cx) / 0.45) ** 2 + ((Y - cy) / 0.03) ** 2)
            blend(image, (255, 150, 130), 0.35 * smoothstep(1, 0.2, band))
    return image


def ground_pattern(kind, X, Y, depth, rng):
    """A faint texture: blades of grass, ripples of sand, waves, drifts of snow."""
    if kind == "grass":
        return 0.07 * np.sin(X * rng.uniform(90, 110) + 9 * np.sin(Y * 37 + rng.uniform(0, 6))) * np.sin(Y * 80)
    if kind == "sand":
        return 0.035 * np.sin(Y * 70 + 3 * np.sin(X * 7 + rng.uniform(0, 6)))
    if kind == "sea":
        wave = np.sin(Y * 62 / (0.6 + 0.6 * depth) + 1.3 * np.sin(X * rng.uniform(12, 18) + rng.uniform(0, 6)))
        return 0.16 * np.maximum(0, wave) ** 3
    return 0.02 * np.sin(Y * 40 + 4 * np.sin(X * 5 + rng.uniform(0, 6)))


def landscape(scene, size):
    X, Y = grid(size)
    rng = np.random.default_rng(scene["seed"])
    kind, h = scene["ground"], scene["h"]
    image = sky(scene, size, rng, 1 if kind == "none" else h)
    if kind == "none":
        return np.clip(image, 0, 255)
    edge = np.full_like(X, h)
    if kind != "sea":
        edge = h + 0.012 * np.sin(X * 6.28 * rng.uniform(0.7, 1.6) + rng.uniform(0, 6))
    mask = np.clip(0.5 + (Y - edge) * size, 0, 1)
    depth = np.clip((Y - h) / (1 - h), 0, 1)
    far, front = (np.array(c, np.float32) for c in GROUND_COLORS[kind])
    color = far * (1 - depth[..., None]) + front * depth[..., None]
    color = color * (1 + ground_pattern(kind, X, Y, depth, rng)[..., None]) * DAYLIGHT[scene["sky"]]
    blend(image, (color * np.array(TINT[scene["sky"]])).astype(np.float32), mask)
    return np.clip(image, 0, 255)


def render(scene, size=64):
    """scene -> uint8 picture (size, size, 3)."""
    image = (plain_background if scene["bg"] == "plain" else landscape)(scene, size).astype(np.float32)
    for obj in scene["objs"]:
        draw_object(image, obj, size)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)
