"""Reads the tensors of a GGUF file (float32, float16, q8_0), so that the released model can be trained further."""
import struct

import numpy as np
import torch

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
F32, F16, Q8_0 = 0, 1, 8
BLOCK = np.dtype([("scale", "<f2"), ("values", "i1", 32)])


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def scalar(self, code):
        value = struct.unpack_from("<" + code, self.data, self.at)[0]
        self.at += struct.calcsize(code)
        return value

    def string(self):
        size = self.scalar("Q")
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            item, count = self.scalar("I"), self.scalar("Q")
            return [self.value(item) for _ in range(count)]
        return self.scalar(SCALARS[kind])


def values_of(data, kind, count, at):
    if kind == F32:
        return np.frombuffer(data, "<f4", count, at).copy()
    if kind == F16:
        return np.frombuffer(data, "<f2", count, at).astype(np.float32)
    if kind == Q8_0:
        blocks = np.frombuffer(data, BLOCK, count // 32, at)
        return (blocks["scale"].astype(np.float32)[:, None] * blocks["values"]).reshape(-1)
    raise ValueError(f"GGUF type {kind} is not read here; convert the model to f16 or q8_0")


def load_gguf(path):
    """-> ({name: float32 tensor}, metadata)"""
    with open(path, "rb") as f:
        reader = Reader(f.read())
    if reader.data[:4] != b"GGUF":
        raise ValueError(f"{path} is not a GGUF file")
    reader.at = 8
    tensors, pairs = reader.scalar("Q"), reader.scalar("Q")
    metadata = {reader.string(): reader.value(reader.scalar("I")) for _ in range(pairs)}
    found = []
    for _ in range(tensors):
        name, rank = reader.string(), reader.scalar("I")
        shape = [reader.scalar("Q") for _ in range(rank)]
        found.append((name, shape[::-1], reader.scalar("I"), reader.scalar("Q")))
    align = metadata.get("general.alignment", 32)
    start = -(-reader.at // align) * align
    out = {}
    for name, shape, kind, offset in found:
        out[name] = torch.from_numpy(values_of(reader.data, kind, int(np.prod(shape)), start + offset)).reshape(shape)
    return out, metadata
