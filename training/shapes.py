"""Signed distance functions of the nine shapes of the world.

Every function takes arrays ``x, y`` in the shape's own frame (``y`` down, half extent about 1) and gives the distance
to the outline: negative inside, positive outside. The formulas are the usual two-dimensional ones.
"""
import numpy as np

SHAPES = ["circle", "square", "triangle", "star", "ring", "cross", "heart", "diamond", "moon"]

# Half extents in units of the radius: (left and right, up, down). Used to lay objects out, not to draw them.
EXTENT = {
    "circle": (1, 1, 1), "square": (0.88, 0.88, 0.88), "triangle": (1, 1, 0.62), "star": (1.05, 1.1, 0.9),
    "ring": (1, 1, 1), "cross": (1, 1, 1), "heart": (1.02, 0.9, 0.95), "diamond": (1, 1.1, 1.1), "moon": (0.9, 1, 1),
}  # fmt: skip


def circle(x, y):
    return np.sqrt(x * x + y * y) - 1


def ring(x, y):
    return np.abs(np.sqrt(x * x + y * y) - 0.72) - 0.28


def square(x, y):
    """Half side .88, corners rounded by .08."""
    qx, qy = np.abs(x) - 0.80, np.abs(y) - 0.80
    outside = np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
    return outside + np.minimum(np.maximum(qx, qy), 0) - 0.08


def diamond(x, y):
    return (np.abs(x) * 1.1 + np.abs(y) - 1.1) / 1.487


def triangle(x, y):
    """Isosceles, apex up: corners (0, -1) and (+-1, .62)."""
    side = (np.abs(x) * 1.62 - (y + 1)) / np.hypot(1.62, 1.0)
    return np.maximum(y - 0.62, side)


def cross(x, y):
    ax, ay = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(ax - 0.98, ay - 0.34), np.maximum(ay - 0.98, ax - 0.34))


def star(x, y):
    """Five points, outer radius 1.1; folds the plane into one tenth of the star."""
    radius, inner = 1.1, 0.45
    kx, ky = 0.809016994, -0.587785252
    px, py = np.abs(x), -y
    fold = np.maximum(kx * px + ky * py, 0)
    px, py = px - 2 * fold * kx, py - 2 * fold * ky
    fold = np.maximum(-kx * px + ky * py, 0)
    px, py = px + 2 * fold * kx, py - 2 * fold * ky
    px, py = np.abs(px), py - radius
    bx, by = inner * -ky, inner * kx - 1
    h = np.clip((px * bx + py * by) / (bx * bx + by * by), 0, radius)
    return np.sqrt((px - bx * h) ** 2 + (py - by * h) ** 2) * np.sign(py * bx - px * by)


def heart(x, y):
    scale = 1.68
    px, py = np.abs(x) / scale, (-y + 0.95) / scale
    lobe = np.sqrt((px - 0.25) ** 2 + (py - 0.75) ** 2) - 0.35355339
    m = np.maximum(px + py, 0) * 0.5
    point = np.sqrt(np.minimum(px**2 + (py - 1) ** 2, (px - m) ** 2 + (py - m) ** 2)) * np.sign(px - py)
    return np.where(px + py > 1, lobe, point) * scale


def moon(x, y):
    body = np.sqrt((x + 0.05) ** 2 + y * y) - 0.98
    bite = np.sqrt((x - 0.45) ** 2 + (y + 0.12) ** 2) - 0.80
    return np.maximum(body, -bite)


SDF = {f.__name__: f for f in (circle, ring, square, diamond, triangle, cross, star, heart, moon)}


def distance(shape, x, y):
    """Signed distance of points (x, y) to the outline of a shape of size one."""
    return SDF[shape](x, y)
