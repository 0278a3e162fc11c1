"""Label maps of scenes: what every pixel belongs to, for semantic synthesis."""
import numpy as np

from .render import COLORS, GROUND_COLORS, SKIES, frame_of, grid
from .shapes import distance

LABELS = [f"{color} wall" for color in COLORS] + [f"{sky} sky" for sky in SKIES] + list(GROUND_COLORS) + [f"{color} object" for color in COLORS]


def label_map(scene, size=64):
    """(size, size) numbers of LABELS: the wall, or the sky and the ground below a straight horizon, and objects by colour."""
    labels = np.empty((size, size), np.uint8)
    if scene["bg"] == "plain":
        labels[:] = LABELS.index(f"{scene['bgc']} wall")
    else:
        labels[:] = LABELS.index(f"{scene['sky']} sky")
        if scene["ground"] != "none":
            labels[grid(size)[1] > scene["h"]] = LABELS.index(scene["ground"])
    for o in scene["objs"]:
        labels[distance(o["shape"], *frame_of(o, size)) < 0] = LABELS.index(f"{o['color']} object")
    return labels
