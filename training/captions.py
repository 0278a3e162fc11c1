"""Says what a scene shows, in many words: synonyms, several phrases per relation, with and without articles.

Captions are drawn anew every time a scene is used, so one picture is seen under many captions.
"""

SHAPE_WORDS = {
    "circle": ["circle"] * 5 + ["disc", "disk", "ball", "dot"],
    "square": ["square"] * 6 + ["box", "block", "cube"],
    "triangle": ["triangle"] * 6 + ["pyramid"],
    "star": ["star"],
    "ring": ["ring"] * 5 + ["donut", "hoop"],
    "cross": ["cross"] * 5 + ["plus", "plus sign"],
    "heart": ["heart"] * 6 + ["love heart"],
    "diamond": ["diamond"] * 5 + ["rhombus"],
    "moon": ["moon"] * 4 + ["crescent"] * 2 + ["crescent moon"],
}
PLURALS = {
    "circle": ["circles", "balls", "dots"], "square": ["squares", "boxes"], "triangle": ["triangles"],
    "star": ["stars"], "ring": ["rings"], "cross": ["crosses"], "heart": ["hearts"], "diamond": ["diamonds"],
    "moon": ["moons"],
}  # fmt: skip
SIZE_WORDS = {
    "small": ["small"] * 4 + ["little", "tiny"],
    "large": ["large"] * 3 + ["big"] * 3 + ["huge"],
    "": [""] * 9 + ["medium"],
}
COLOR_WORDS = {"purple": ["purple"] * 4 + ["violet"]}
NUMBERS = {2: "two", 3: "three", 4: "four"}
RELATION_WORDS = {
    "left": ["to the left of", "left of", "on the left of"],
    "right": ["to the right of", "right of", "on the right of"],
    "above": ["above", "over", "above"],
    "below": ["below", "under", "beneath", "underneath"],
    "on": ["on top of", "on", "standing on", "sitting on"],
    "inside": ["inside", "in", "within", "inside of"],
}
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
POSITION_WORDS = {
    "left": ["on the left", "on the left side", "at the left"],
    "right": ["on the right", "on the right side", "at the right"],
    "top": ["at the top"],
    "bottom": ["at the bottom"],
    "top left": ["in the top left corner", "at the top left", "in the upper left corner"],
    "top right": ["in the top right corner", "at the top right", "in the upper right corner"],
    "bottom left": ["in the bottom left corner", "at the bottom left", "in the lower left corner"],
    "bottom right": ["in the bottom right corner", "at the bottom right", "in the lower right corner"],
}
SKY_WORDS = {
    "day": ["on a sunny day", "under a blue sky", "by day", "in the daytime", "with clouds", "under the clouds"],
    "night": ["at night", "at night", "under the stars", "under a starry sky", "in the night", "in the dark"],
    "sunset": ["at sunset", "at sunset", "in the evening", "at dusk", "at dawn", "under an orange sky"],
}
GROUND_WORDS = {
    "grass": ["grass", "a meadow", "a field", "the grass", "a lawn", "green grass", "the meadow", "grassland"],
    "sand": ["the beach", "sand", "a beach", "the sand", "the desert", "a desert"],
    "sea": ["the sea", "the ocean", "the sea", "water", "the water", "the waves"],
    "snow": ["snow", "the snow", "a snowy field", "white snow"],
}
SKY_ONLY_WORDS = {
    "day": ["in the sky", "in a blue sky", "in the clouds", "on a sky background", "in the sky by day",
            "in a cloudy sky", "in the sunny sky"],
    "night": ["in the night sky", "in a starry sky", "in space", "in the sky at night", "among the stars",
              "on a night background"],
    "sunset": ["in the sunset sky", "in an orange sky", "in the evening sky", "in the sky at sunset"],
}  # fmt: skip
PREFIXES = [""] * 14 + ["a picture of ", "a drawing of ", "an image of ", "a painting of ", "a photo of ", "there is "]
SUFFIXES = [""] * 30 + [", simple", ", cute", ", colorful", ", high quality"]


def pick(rng, items):
    return items[int(rng.integers(len(items)))]


def with_article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def color_word(color, rng):
    return pick(rng, COLOR_WORDS.get(color, [color]))


def noun_phrase(obj, rng):
    """'a small red circle'; now and then without an article, or with 'the'."""
    words = [pick(rng, SIZE_WORDS[obj["size"]]), color_word(obj["color"], rng), pick(rng, SHAPE_WORDS[obj["shape"]])]
    text, u = " ".join(w for w in words if w), rng.random()
    return with_article(text) if u < 0.85 else text if u < 0.93 else "the " + text


def background_phrase(scene, rng):
    if scene["bg"] == "plain":
        color = color_word(scene["bgc"], rng)
        one = with_article(color)
        common = [f"on {one} background"] * 5
        return pick(rng, common + [f"on {color}", f"{color} background", f"with {one} background",
                                   f"in front of {one} wall", f"on {one} wall", f", {color} background"])  # fmt: skip
    sky, ground = scene["sky"], scene["ground"]
    if ground == "none":
        return pick(rng, SKY_ONLY_WORDS[sky])
    sea = ground == "sea"
    prepositions = {
        "on": ["on", "standing on", "on", "floating on" if sea else "lying on"],
        "over": ["over", "above", "over", "flying over", "floating over", "in the sky above"],
    }.get(scene.get("place"), ["at", "by", "over", "in front of", "on"] if sea else ["at", "on", "by", "in front of", "over"])
    text = pick(rng, prepositions) + " " + pick(rng, GROUND_WORDS[ground])
    if sky != "day" or rng.random() < 0.45:
        text += " " + pick(rng, SKY_WORDS[sky])
    return text


def relation_phrase(scene, rng):
    """'A left of B', or the same said from the other side, or as a list in reading order."""
    a, b, rel = scene["objs"][scene["a"]], scene["objs"][1 - scene["a"]], scene["rel"]
    u = rng.random()
    if rel in OPPOSITE and u < 0.25:
        a, b, rel = b, a, OPPOSITE[rel]
    if rel in OPPOSITE and u > 0.94:
        first, second = (a, b) if rel in ("left", "above") else (b, a)
        order = "side by side" if rel in ("left", "right") else "stacked"
        return f"{noun_phrase(first, rng)} and {noun_phrase(second, rng)} {order}"
    if rel in ("left", "right") and u > 0.86:
        return f"{noun_phrase(a, rng)} on the {rel} and {noun_phrase(b, rng)} on the {OPPOSITE[rel]}"
    return f"{noun_phrase(a, rng)} {pick(rng, RELATION_WORDS[rel])} {noun_phrase(b, rng)}"


def caption(scene, rng, say_background=0.93):
    """A caption of the scene. Sets scene['said']: whether the background is named."""
    background = background_phrase(scene, rng) if rng.random() < say_background else ""
    scene["said"] = bool(background)
    objs, kind = scene["objs"], scene["kind"]
    if kind == "one":
        text = noun_phrase(objs[0], rng)
        if scene["pos"] != "center":
            text += " " + pick(rng, POSITION_WORDS[scene["pos"]])
        elif "place" not in scene and rng.random() < 0.15:
            text += " " + pick(rng, ["in the middle", "in the center"])
    elif kind == "two":
        text = relation_phrase(scene, rng)
    elif kind == "many":
        o = objs[0]
        words = [NUMBERS[scene["n"]], pick(rng, SIZE_WORDS[o["size"]]), color_word(o["color"], rng), pick(rng, PLURALS[o["shape"]])]
        text = " ".join(w for w in words if w)
    else:
        first, second, third = (noun_phrase(o, rng) for o in objs)
        text = f"{first}, {second} and {third}"
    if background:
        text += background if background[0] == "," else " " + background
    return pick(rng, PREFIXES) + text + pick(rng, SUFFIXES)
