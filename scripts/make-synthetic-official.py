#!/usr/bin/env python3
"""Writes a MemVP model of full size with random values, in the file formats of the release: LLaMA in shards, CLIP as a state
dictionary, a MemVP checkpoint and a tokenizer. For measuring conversion and speed (docs/BENCHMARKS.md); its answers are noise.

    make-synthetic-official.py DIRECTORY [--size 7B|13B|tiny] [--shards 2]

Needs numpy alone: the zip archives of torch.save are written here (protocol 2 pickles, stored entries, zip64).
"""
import argparse
import json
import pathlib
import struct
import zipfile

import numpy as np

SIZES = {  # width, layers, heads, hidden; CLIP: width, layers, patch, side; slots
    "7B": (4096, 32, 32, 11008, 1024, 24, 14, 224, 400),
    "13B": (5120, 40, 40, 13824, 1024, 24, 14, 224, 400),
    "tiny": (256, 3, 4, 704, 192, 4, 16, 112, 60),
}


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integers(values):
    return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"


def pickled(tensors, storage, checkpoint):
    """The state dictionary {name: shape} as torch.save pickles it."""
    table = b"}("
    for index, (name, shape) in enumerate(tensors):
        count = int(np.prod(shape))
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
        long_count = b"\x8a\x08" + struct.pack("<q", count)
        table += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + b"(" + text("storage")
        table += b"ctorch\n" + storage + b"\n" + text(str(index)) + text("cpu") + long_count + b"tQ"
        table += b"J\0\0\0\0" + integers(shape) + integers(strides)
        table += b"\x89ccollections\nOrderedDict\n)RtR"
    table += b"u"
    if checkpoint:
        table = b"}(" + text("model") + table + text("epoch") + b"K\x13u"
    return b"\x80\x02" + table + b"."


class Noise:
    """Normal values cut from one long run of them at random places: drawing billions would take minutes."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.run = self.random.standard_normal(1 << 24, dtype=np.float32)

    def write(self, entry, shape, deviation, dtype, mean=0.0):
        left = int(np.prod(shape))
        scaled = (self.run * deviation + mean).astype(dtype)
        while left > 0:
            start = int(self.random.integers(0, 1 << 22))
            part = scaled[start : start + left]
            entry.write(part.tobytes())
            left -= len(part)


def save(path, tensors, noise, half=True, checkpoint=False):
    """tensors: (name, shape, deviation, mean)"""
    path.parent.mkdir(parents=True, exist_ok=True)
    dtype, storage = (np.float16, b"HalfStorage") if half else (np.float32, b"FloatStorage")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr("archive/data.pkl", pickled([t[:2] for t in tensors], storage, checkpoint))
        for index, (_, shape, deviation, mean) in enumerate(tensors):
            with archive.open(f"archive/data/{index}", "w", force_zip64=True) as entry:
                noise.write(entry, shape, deviation, dtype, mean)
        archive.writestr("archive/version", b"3\n")


def llama_shard(width, layers, hidden, vocabulary, shards):
    def matrix(name, rows, columns, cut):
        shape = (rows // shards, columns) if cut == 0 else (rows, columns // shards)
        return (f"{name}.weight", shape, 0.7 / columns**0.5, 0.0)

    tensors = [("tok_embeddings.weight", (vocabulary, width // shards), 1.0, 0.0)]
    for layer in range(layers):
        name = f"layers.{layer}"
        tensors += [matrix(f"{name}.attention.{m}", width, width, 0) for m in ("wq", "wk", "wv")]
        tensors += [matrix(f"{name}.attention.wo", width, width, 1)]
        tensors += [matrix(f"{name}.feed_forward.w1", hidden, width, 0)]
        tensors += [matrix(f"{name}.feed_forward.w2", width, hidden, 1)]
        tensors += [matrix(f"{name}.feed_forward.w3", hidden, width, 0)]
        tensors += [(f"{name}.{n}.weight", (width,), 0.0, 1.0) for n in ("attention_norm", "ffn_norm")]
    return tensors + [("norm.weight", (width,), 0.0, 1.0), matrix("output", vocabulary, width, 0)]


def clip(width, layers, patch, side):
    tokens = (side // patch) ** 2 + 1
    small = width**-0.5
    tensors = [
        ("visual.class_embedding", (width,), small, 0.0),
        ("visual.positional_embedding", (tokens, width), small, 0.0),
        ("visual.proj", (width, 64), small, 0.0),
        ("visual.conv1.weight", (width, 3, patch, patch), 0.02, 0.0),
        ("visual.ln_pre.weight", (width,), 0.1, 1.0),
        ("visual.ln_pre.bias", (width,), 0.1, 0.0),
    ]
    for layer in range(layers):
        name = f"visual.transformer.resblocks.{layer}"
        for part, rows, columns in (
            ("attn.in_proj_", 3 * width, width),
            ("attn.out_proj.", width, width),
            ("mlp.c_fc.", 4 * width, width),
            ("mlp.c_proj.", width, 4 * width),
        ):
            tensors.append((f"{name}.{part}weight", (rows, columns), columns**-0.5, 0.0))
            tensors.append((f"{name}.{part}bias", (rows,), 0.02, 0.0))
        for norm in ("ln_1", "ln_2"):
            tensors.append((f"{name}.{norm}.weight", (width,), 0.1, 1.0))
            tensors.append((f"{name}.{norm}.bias", (width,), 0.1, 0.0))
    return tensors + [("visual.ln_post.weight", (width,), 0.1, 1.0), ("visual.ln_post.bias", (width,), 0.1, 0.0)]


def memvp(width, slots, features, layers, hidden=128, rank=8):
    tensors = [(f"module.adapter_emb{i}", (1, slots, width), 0.02, 0.0) for i in (1, 2)]
    for layer in range(layers):
        name = f"module.backbone.visual.transformer.resblocks.{layer}.adapter_mlp"
        tensors.append((f"{name}.fc1.weight", (rank, features), features**-0.5, 0.0))
        tensors.append((f"{name}.fc2.weight", (features, rank), rank**-0.5, 0.0))
    tensors.append(("module.adapter_proj.fc1.weight", (hidden, features), features**-0.5, 0.0))
    tensors.append(("module.adapter_proj.fc1.bias", (hidden,), 0.02, 0.0))
    tensors.append(("module.adapter_proj.fc2.weight", (width, hidden), hidden**-0.5, 0.0))
    tensors.append(("module.adapter_proj.fc2.bias", (width,), 0.02, 0.0))
    return tensors


def tokenizer(count):
    """A SentencePiece model of `count` pieces: control and byte pieces, letters and made-up words."""

    def varint(value):
        data = b""
        while value > 127:
            data += bytes([value & 127 | 128])
            value >>= 7
        return data + bytes([value])

    def field(number, data):
        return varint(number << 3 | 2) + varint(len(data)) + data

    def piece(content, score, kind):
        return field(1, field(1, content.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + varint(kind))

    data = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3)
    data += b"".join(piece(f"<0x{byte:02X}>", 0, 6) for byte in range(256))
    letters = ["\u2581"] + [chr(code) for code in range(33, 127)]
    words = letters + [a + b for a in letters for b in letters] + [a + b + c for a in letters for b in letters for c in "aeiou"]
    data += b"".join(piece(word, -float(index), 1) for index, word in enumerate(words[: count - 259]))
    trainer = b"\x18\x02\xc8\x01\x01\x98\x02\x01"  # BPE, split digits, byte fallback
    normalizer = field(1, b"identity") + b"\x18\x01\x20\x00\x28\x01"
    return data + field(2, trainer) + field(3, normalizer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--size", choices=SIZES, default="7B")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    width, layers, heads, hidden, features, blocks, patch, side, slots = SIZES[arguments.size]
    vocabulary = 1024 if arguments.size == "tiny" else 32000
    noise = Noise(arguments.seed)
    folder = arguments.directory / arguments.size
    for shard in range(arguments.shards):
        tensors = llama_shard(width, layers, hidden, vocabulary, arguments.shards)
        save(folder / f"consolidated.{shard:02}.pth", tensors, noise)
    parameters = {"dim": width, "n_heads": heads, "n_layers": layers, "norm_eps": 1e-6, "vocab_size": -1}
    (folder / "params.json").write_text(json.dumps(parameters))
    (arguments.directory / "tokenizer.model").write_bytes(tokenizer(vocabulary))
    save(arguments.directory / "clip-state-dict.pt", clip(features, blocks, patch, side), noise)
    checkpoint = memvp(width, slots, features, blocks)
    save(arguments.directory / "checkpoint-19.pth", checkpoint, noise, half=False, checkpoint=True)


if __name__ == "__main__":
    main()
