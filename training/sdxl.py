"""A small SDXL on this world: its text towers and networks, and pictures with the numbers that it is told about them.

The numbers are those of the SDXL paper, section 2.2: the size of the original picture (pictures that were small and had to be
enlarged are blurred), and where the crop begins (objects at its border are cut off).
"""
import numpy as np
import torch
import torch.nn.functional as F

from .models import CLIPTextModel, OpenCLIPTextModel, UNetModel
from .models.autoencoder import to_tensor
from .models.unet import timestep_embedding
from .render import render

SIDE = 64
WIDTH = 128  # of a token, in either tower
NUMBER = 256  # width of an embedded number
LAYERS = 5  # of a tower: the embedded encoder's three, one in place of its norm, and one that only the pooled vector passes
SMALL = (12, 16, 24, 32, 48)  # sides of small originals
WIDE = (80, 96)  # longer sides of originals that were cropped
SHRINK, GAIN = 0.2, 100.0  # of the stream of a tower before the layer that stands for its norm, and of what that layer adds
CUTOFF = 300  # the refiner begins below this timestep; SDXL's below 200


# ---- pictures and what is told about them ------------------------------------------------------------------------------


def surrounded(scene, side):
    """The scene in the middle of a larger square, in fractions of its side."""
    share = SIDE / side

    def move(v):
        return 0.5 + (v - 0.5) * share

    objects = [{**o, "x": move(o["x"]), "y": move(o["y"]), "r": o["r"] * share} for o in scene["objs"]]
    return {**scene, "objs": objects, **({"h": move(scene["h"])} if "h" in scene else {})}


def enlarged(image, small):
    """A picture as it would come from an original of ``small`` pixels."""
    x = to_tensor(image[None])
    x = F.interpolate(F.interpolate(x, size=(small, small), mode="area"), size=image.shape[:2], mode="bicubic", align_corners=False)
    return ((x[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def picture(scene, rng):
    """-> a picture of 64x64 and its six numbers: original height and width, top and left of the crop, target height and width."""
    height = width = SIDE
    top = left = 0
    kind = rng.random()
    if kind < 0.35:  # a wide or a tall original, cut to a square
        longer = int(rng.choice(WIDE))
        at, middle = int(rng.integers(longer - SIDE + 1)), (longer - SIDE) // 2
        if rng.random() < 0.5:
            at = int(rng.choice([0, middle, longer - SIDE]))
        larger = render(surrounded(scene, longer), longer)
        if rng.random() < 0.6:
            width, left = longer, at
            image = larger[middle : middle + SIDE, at : at + SIDE]
        else:
            height, top = longer, at
            image = larger[at : at + SIDE, middle : middle + SIDE]
    else:
        image = render(scene, SIDE)
    if 0.25 < kind < 0.65:
        small = int(rng.choice(SMALL))
        image = enlarged(image, small)
        height, width = (round(v * small / SIDE) for v in (height, width))
    return image, (height, width, top, left, SIDE, SIDE)


def refiner_numbers(numbers, rng):
    """Of a base model's numbers: those of a refiner, with a score of how sharp the picture is (about 3 to 6.5) in place of the target
    size. Half of the blurred pictures claim the full size, so that the score has to be read."""
    height, width, top, left = numbers[:4]
    sharp = min(height, width) / SIDE
    if rng.random() < 0.5:
        height, width = round(height / sharp), round(width / sharp)
    return height, width, top, left, 1.5 + 5 * sharp**0.7 + rng.normal(0, 0.2)


def embed_numbers(numbers):
    """(B, N) -> (B, N * 256)"""
    return timestep_embedding(torch.as_tensor(np.asarray(numbers), dtype=torch.float32).flatten(), NUMBER).unflatten(0, (len(numbers), -1)).flatten(1)


# ---- text ---------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def norm_as_layer(state, prefix, norm, names):
    """Makes a layer of a tower add what the final norm would give: of its feed-forward part half the units give x and half -x, and
    gelu(x) - gelu(-x) = x. It adds so much that the stream of the layers before hardly counts beside it."""
    attention, inner, outer = names
    for end in ("weight", "bias"):
        state[f"{prefix}{attention}.{end}"].zero_()
        state[f"{prefix}{inner}.{end}"].zero_()
    state[f"{prefix}{outer}.weight"].zero_()
    eye = torch.eye(WIDTH)
    state[f"{prefix}{inner}.weight"][: 2 * WIDTH] = torch.cat([eye, -eye])
    state[f"{prefix}{outer}.weight"][:, : 2 * WIDTH] = torch.cat([eye, -eye], 1) * norm["weight"][:, None] * GAIN
    state[f"{prefix}{outer}.bias"].copy_(norm["bias"] * GAIN)


@torch.no_grad()
def clip_tower(text):
    """SDXL's first tower from the embedded model's text encoder: its next to last layer, without a norm, says the same as that one's
    last layer after the norm."""
    tower, old = CLIPTextModel(layers=LAYERS), text.state_dict()
    state = tower.state_dict()
    for key, value in old.items():
        shrunk = any(part in key for part in ("token_embedding", "position_embedding", "out_proj", "fc2"))
        state[key].copy_(value * SHRINK if shrunk else value)
    norm = {end: old[f"text_model.final_layer_norm.{end}"] for end in ("weight", "bias")}
    norm_as_layer(state, f"text_model.encoder.layers.{LAYERS - 2}.", norm, ("self_attn.out_proj", "mlp.fc1", "mlp.fc2"))
    for part in ("self_attn.out_proj", "mlp.fc2"):
        for end in ("weight", "bias"):
            state[f"text_model.encoder.layers.{LAYERS - 1}.{part}.{end}"].zero_()
    tower.load_state_dict(state)
    return tower.requires_grad_(False)


OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


@torch.no_grad()
def open_clip_tower(first):
    """The second tower: the first one in OpenCLIP's names. It has another GELU and pads with token 0, which is therefore embedded as
    the end token; its pooled vector is that of the end token."""
    tower, old = OpenCLIPTextModel(layers=LAYERS), first.state_dict()
    state = tower.state_dict()
    state["token_embedding.weight"].copy_(old["text_model.embeddings.token_embedding.weight"])
    state["token_embedding.weight"][0] = state["token_embedding.weight"][tower.end]
    state["positional_embedding"].copy_(old["text_model.embeddings.position_embedding.weight"])
    for i in range(LAYERS):
        before, after = f"text_model.encoder.layers.{i}.", f"transformer.resblocks.{i}."
        for name, other in OPEN_CLIP.items():
            for end in ("weight", "bias"):
                state[f"{after}{other}.{end}"].copy_(old[f"{before}{name}.{end}"])
        for end in ("weight", "bias"):
            state[f"{after}attn.in_proj_{end}"].copy_(torch.cat([old[f"{before}self_attn.{k}_proj.{end}"] for k in "qkv"]))
    tower.load_state_dict(state)
    return tower.requires_grad_(False)


class Towers:
    """Both text encoders, frozen. ``base``: both as context and zeros for no caption; a refiner reads the second alone. What they
    say is divided by GAIN here, and the U-Net's weights when they are exported: so they are of ordinary size in training."""

    def __init__(self, text):
        self.first = clip_tower(text)
        self.second = open_clip_tower(self.first)

    @torch.no_grad()
    def __call__(self, ids, base, named=None):
        """Token ids (B, T) of the embedded model's tokenizer, whether a caption is given (B,) -> context (B, T, 256 or 128), pooled (B, 128)"""
        padded = ids.clone()
        ended = (ids == self.second.end).cumsum(1) > 1
        padded[ended] = 0
        context, pooled = self.second(padded)
        if not base:
            return context / GAIN, pooled
        context = torch.cat([self.first.hidden(ids), context], -1) / GAIN
        keep = torch.ones(len(ids)) if named is None else named.float()
        return context * keep[:, None, None], pooled * keep[:, None]


# ---- networks -----------------------------------------------------------------------------------------------------------

NETWORKS = {
    "base": dict(context=2 * WIDTH, vector=WIDTH + 6 * NUMBER, linear=True),
    "refiner": dict(context=WIDTH, vector=WIDTH + 5 * NUMBER, linear=True),
    "koala": dict(context=2 * WIDTH, vector=WIDTH + 6 * NUMBER, linear=True, middle=False),
    "tiny": dict(context=2 * WIDTH, vector=WIDTH + 6 * NUMBER, linear=True, mult=(1, 2), attention=(2,), middle=False),
}
STUDENTS = ("koala", "tiny")  # with fewer blocks: without the middle, as KOALA-700M; without the coarsest level too, as BK-SDM Tiny


def build(name):
    return UNetModel(**NETWORKS[name])


def from_embedded(unet, old):
    """Fills a base model's or a refiner's U-Net from the embedded one's: it draws the same, whatever the vector. A base model takes
    half of each tower, for they say the same."""
    state = unet.state_dict()
    for key, value in old.items():
        if "attn2.to_k" in key or "attn2.to_v" in key:
            copies = state[key].shape[1] // WIDTH
            value = torch.cat([value / copies] * copies, 1)
        state[key].copy_(value.reshape(state[key].shape))
    unet.load_state_dict(state)


def from_teacher(student, teacher):
    """Fills a student, which has no middle and perhaps no coarsest level, with its teacher's blocks of the levels that are left."""
    state, old = student.state_dict(), teacher.state_dict()
    skipped = len(teacher.output_blocks) - len(student.output_blocks)  # the coarsest level comes first on the way up
    for key in state:
        name = key
        if key.startswith("output_blocks."):
            _, i, rest = key.split(".", 2)
            name = f"output_blocks.{int(i) + skipped}.{rest}"
        if name in old and old[name].shape == state[key].shape:
            state[key].copy_(old[name])
    student.load_state_dict(state)


class Features:
    """What the last blocks of a U-Net's way up gave when it was called last; of a student and its teacher these have the same shapes."""

    def __init__(self, unet, count):
        self.values = []
        unet.register_forward_pre_hook(lambda *_: self.values.clear())
        for block in unet.output_blocks[-count:]:
            block.register_forward_hook(lambda _, given, value: self.values.append(value.float()))

    def difference(self, teacher):
        """The squared error (B,), relative to the teacher's values."""
        errors = [(a - b).square().mean((1, 2, 3)) / b.square().mean() for a, b in zip(self.values, teacher.values)]
        return torch.stack(errors).mean(0)


def networks(name, init):
    """-> the U-Net ``name`` begun from the embedded model's networks (checkpoint.load)"""
    unet = build(name)
    if name not in STUDENTS:
        from_embedded(unet, init["unet"].state_dict())
    return unet
