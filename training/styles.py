"""Scenes in another style, for adapters that change how the model draws and not what.

``night``: it is night, whatever the caption says; plain walls become a starry sky, objects stay as they are. (Line drawings and
coarse pixels were tried first: the first stage, which has seen only such scenes, cannot reproduce them.)
"""
from .render import render


def night(scene, size=64):
    """scene -> uint8 picture (size, size, 3)."""
    ground = scene["ground"] if scene["bg"] == "land" else "none"
    return render({**scene, "bg": "land", "sky": "night", "ground": ground, "h": scene.get("h", 1.0)}, size)


STYLES = {"night": night}
