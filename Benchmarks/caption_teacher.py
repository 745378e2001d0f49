#!/usr/bin/env python3
"""A captioner of another kind on the features that `memvp train` keeps: what they are good for, and a teacher (docs/TRAINING.md).

A projection of 256 ReLU units, a decoder of two transformer layers that attend to a photo's patches, words that training captions
have four times; words alone, no reward. It writes a caption for each photo of the data, greedy, as rows that `memvp train --data`
takes (sequence-level knowledge distillation, Kim and Rush 2016). Needs PyTorch and NumPy, and a run of `memvp train --cache DIR`
on the same data with --views 4:

    python3 Benchmarks/caption_teacher.py --features DIR/KEY --patches 81 --width 680 \\
        --data flickr8k/captions.jsonl --data coco-vqa/captions.jsonl --out teacher.jsonl

KEY is the name of the store's files without .f16 and .index. Each data file FOLDER/NAME.jsonl gets FOLDER/teacher.jsonl.
"""
import argparse
import collections
import hashlib
import json
import math
import os
import re

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

PAD, BEGIN, END, UNKNOWN = range(4)
LONGEST, BATCH, WIDTH, DROPOUT = 24, 64, 256, 0.2


class Photos:
    """Features by photo and view, straight from the store's file."""

    def __init__(self, prefix, patches, width):
        with open(prefix + ".index") as lines:
            self.rows = {line.strip(): number for number, line in enumerate(lines)}
        self.values = np.memmap(prefix + ".f16", np.float16, "r").reshape(-1, patches, width)

    def views(self, path):
        with open(path, "rb") as photo:
            name = hashlib.sha256(photo.read()).hexdigest()
        keys = [name] + [hashlib.sha256(f"{name} view {n}".encode()).hexdigest() for n in (1, 2, 3)]
        return [self.rows[key] for key in keys if key in self.rows]

    def take(self, rows):
        order = np.argsort(rows)
        taken = np.empty((len(rows), *self.values.shape[1:]), np.float32)
        taken[order] = self.values[np.array(rows)[order]]  # in the file's order: a disk is faster so
        return torch.from_numpy(taken)


class Captioner(nn.Module):
    def __init__(self, mean, deviation, patches, words):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.project = nn.Sequential(nn.Linear(len(mean), WIDTH), nn.ReLU())
        self.norm = nn.LayerNorm(WIDTH)
        self.patch = nn.Parameter(torch.randn(patches, WIDTH) * 0.02)
        self.words = nn.Embedding(words, WIDTH)
        nn.init.normal_(self.words.weight, 0, 0.03)
        self.position = nn.Parameter(torch.randn(LONGEST + 2, WIDTH) * 0.02)
        layer = nn.TransformerDecoderLayer(
            WIDTH, 8, 4 * WIDTH, DROPOUT, batch_first=True, norm_first=True, activation="gelu")
        self.decoder = nn.TransformerDecoder(layer, 2, nn.LayerNorm(WIDTH))
        self.dropout = nn.Dropout(DROPOUT)

    def see(self, features):  # [photos, patches, width]
        return self.norm(self.project(self.dropout((features - self.mean) / self.deviation))) + self.patch

    def forward(self, seen, tokens):  # logits [photos, tokens, words]
        length = tokens.shape[1]
        x = self.dropout(self.words(tokens) * math.sqrt(WIDTH) / 2 + self.position[:length])
        later = torch.triu(torch.full((length, length), float("-inf")), 1)
        return self.decoder(x, seen, tgt_mask=later) @ self.words.weight.T

    @torch.inference_mode()
    def greedy(self, features):
        self.eval()
        seen = self.see(features)
        tokens = torch.full((len(seen), 1), BEGIN)
        ended = torch.zeros(len(seen), dtype=torch.bool)
        for _ in range(LONGEST):
            logits = self(seen, tokens)[:, -1]
            logits[:, [PAD, BEGIN, UNKNOWN]] = -1e9
            chosen = logits.argmax(-1).masked_fill(ended, PAD)
            ended |= chosen == END
            tokens = torch.cat([tokens, chosen[:, None]], 1)
            if ended.all():
                break
        self.train()
        return tokens


def padded(sentences):
    length = max(map(len, sentences))
    return torch.tensor([s + [PAD] * (length - len(s)) for s in sentences])


def read(files):
    captions, splits, photos = collections.defaultdict(list), {}, {}
    for file in files:
        photos[file] = {}  # in order, each once
        with open(file) as lines:
            for row in map(json.loads, lines):
                photo = os.path.join(os.path.dirname(file), row["image"])
                captions[photo].append(re.findall(r"[a-z0-9']+", row["caption"].lower()))
                splits[photo] = row["split"]
                photos[file][photo] = row["image"]
    return captions, splits, photos


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", required=True)
    parser.add_argument("--patches", type=int, default=81)
    parser.add_argument("--width", type=int, default=680)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--out", default="teacher.jsonl", help="the name of the file beside each data file")
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    order = np.random.default_rng(1)

    captions, splits, shown = read(options.data)
    photos = Photos(options.features, options.patches, options.width)
    views = {photo: photos.views(photo) for photo in captions}
    learned = [photo for photo in captions if splits[photo] == "train" and views[photo]]
    counts = collections.Counter(word for photo in learned for caption in captions[photo] for word in caption)
    words = ["<pad>", "<s>", "</s>", "<unk>"] + [word for word, count in counts.items() if count >= 4]
    number = {word: index for index, word in enumerate(words)}
    sample = photos.take([views[photo][0] for photo in learned[::20]]).flatten(0, 1)
    model = Captioner(sample.mean(0), sample.std(0) + 1e-3, options.patches, len(words))
    rows = [(photo, caption) for photo in learned for caption in captions[photo]]
    steps = options.epochs * (len(rows) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), options.rate, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=steps + 1, pct_start=0.1)
    print(f"{len(learned)} photos, {len(rows)} captions, {len(words)} words, {steps} steps", flush=True)
    for epoch in range(options.epochs):
        total = 0.0
        shuffled = order.permutation(len(rows))[:len(rows) // BATCH * BATCH].reshape(-1, BATCH)
        for batch in shuffled:
            chosen = [rows[index] for index in batch]
            tokens = padded(
                [[BEGIN] + [number.get(w, UNKNOWN) for w in caption[:LONGEST]] + [END] for _, caption in chosen])
            seen = model.see(photos.take([order.choice(views[photo]) for photo, _ in chosen]))
            loss = F.cross_entropy(
                model(seen, tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=PAD,
                label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(shuffled):.3f}", flush=True)

    for file in options.data:
        own = [photo for photo in shown[file] if views[photo]]
        with open(os.path.join(os.path.dirname(file), options.out), "w") as out:
            for start in range(0, len(own), 250):
                part = own[start:start + 250]
                for photo, said in zip(part, model.greedy(photos.take([views[p][0] for p in part])).tolist()):
                    text = " ".join(words[token] for token in said if token > UNKNOWN)
                    row = {"image": shown[file][photo], "caption": text + ".", "split": splits[photo]}
                    out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
