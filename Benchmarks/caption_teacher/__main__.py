#!/usr/bin/env python3
"""A captioner of another kind on the features that `memvp train` keeps: what they are good for, and a teacher (docs/TRAINING.md).

A projection of 256 ReLU units and a decoder of two transformer layers, trained on the captions' words, then rewarded by CIDEr-D.
The captions that both states together find likeliest are written as rows that `memvp train --data` takes (sequence-level
knowledge distillation, Kim and Rush 2016), but for those that name something twice. Needs PyTorch and NumPy, and a run of
`memvp train --cache DIR --views 4` on the same data:

    python3 Benchmarks/caption_teacher --features DIR/KEY --data flickr8k/captions.jsonl --data coco-vqa/captions.jsonl

KEY is the name of the store's files without .f16 and .index. Each FOLDER/NAME.jsonl gets FOLDER/teacher.jsonl. The reward learns
from the first file's photos.
"""
import argparse
import collections
import copy
import json
import os

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from captioner import BEGIN, END, LONGEST, PAD, UNKNOWN, Captioner
from data import VIEWS, Data, Photos
from reward import named_again, rewarded
from saying import greedy, likeliest

BATCH = 64


def padded(sentences):
    length = max(map(len, sentences))
    return torch.tensor([s + [PAD] * (length - len(s)) for s in sentences])


def taught_words(model, photos, data, number, epochs, rate, seed):
    """The words of all training captions, labels smoothed by 0.1, one cycle of the rate."""
    order = np.random.default_rng(seed + 1)
    rows = [(photo, caption) for photo in data.learned for caption in data.captions[photo]]
    steps = epochs * (len(rows) // BATCH)
    print(f"{len(data.learned)} photos, {len(rows)} captions, {len(number)} words, {steps} steps", flush=True)
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1, pct_start=0.1)
    for epoch in range(epochs):
        total = 0.0
        shuffled = order.permutation(len(rows))[:len(rows) // BATCH * BATCH].reshape(-1, BATCH)
        for batch in shuffled:
            chosen = [rows[index] for index in batch]
            tokens = padded(
                [[BEGIN] + [number.get(w, UNKNOWN) for w in caption[:LONGEST]] + [END] for _, caption in chosen])
            seen = model.see(photos.take([order.choice(data.views[photo]) for photo, _ in chosen]))
            states = model.decoder.norm(model.read(seen, tokens[:, :-1]))
            loss = F.cross_entropy(
                (states @ model.words.weight.T).flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=PAD,
                label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / max(1, len(shuffled)):.3f}", flush=True)


def trained(model, photos, data, words, options):
    """The rewarded state and the one of words alone, or that alone without a reward."""
    models = [copy.deepcopy(model), model] if options.reward_steps else [model]
    if options.state and os.path.exists(options.state):
        load(models, options.state)
    else:
        if options.begin:
            load(models, options.begin)
        else:
            number = {word: i for i, word in enumerate(words)}
            taught_words(model, photos, data, number, options.epochs, options.rate, options.seed)
            models[0].load_state_dict(model.state_dict())
        if options.reward_steps:
            reward(models[0], photos, data, words, options)
        if options.state:
            torch.save([one.state_dict() for one in models], options.state)
    for one in models:
        one.eval()
    return models


def load(models, file):
    states = torch.load(file)
    for model, state in zip(models, (states[0], states[-1])):
        model.load_state_dict(state)


def reward(model, photos, data, words, options):
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = options.reward_dropout
        elif isinstance(part, nn.MultiheadAttention):
            part.dropout = 0.0  # none of the weights: `draw` has none either
    own = set(data.files[options.data[0]])
    learned = [photo for photo in data.learned if photo in own]
    rewarded(model, photos, data, learned, words, options.reward_schedule, options.reward_steps, seed=options.seed + 1)


def rows(say, photos, data, words, shown, view, of_one_view):
    """What is said of one view of each photo that has it."""
    own = [photo for photo in shown if len(data.views[photo]) > view]
    for start in range(0, len(own), 100):
        part = own[start:start + 100]
        said = say(photos.take([data.views[photo][view] for photo in part]))
        for photo, tokens in ((photo, tokens) for photo, texts in zip(part, said) for tokens in texts):
            caption = [words[token] for token in tokens]
            if named_again(caption) == 0:
                row = {"image": shown[photo], "caption": " ".join(caption) + ".", "split": data.split[photo]}
                yield {**row, "view": view} if of_one_view else row


def write(say, photos, data, words, options):
    for file, shown in data.files.items():
        with open(os.path.join(os.path.dirname(file), options.out), "w") as out:
            for view in range(options.views or 1):
                for row in rows(say, photos, data, words, shown, view, options.views is not None):
                    out.write(json.dumps(row) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", required=True)
    parser.add_argument("--patches", type=int, default=81)
    parser.add_argument("--width", type=int, default=680)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--out", default="teacher.jsonl", help="the name of the file beside each data file")
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--reward-schedule", type=int, default=600, help="steps in which the reward's rate falls to 0")
    parser.add_argument("--reward-steps", type=int, default=300, help="steps of it that are done; 0 for no reward")
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--reward-dropout", type=float, default=0.1)
    parser.add_argument(
        "--best", type=int, default=1, help="captions of each photo, up to 3; 0 for a greedy one of the last state alone")
    parser.add_argument(
        "--views", type=int, choices=range(1, VIEWS + 1),
        help="captions of so many views of each photo, each of its own, which its rows name; by default of the whole, for all")
    parser.add_argument("--state", help="where the trained captioners are kept; one that is there is not trained again")
    parser.add_argument("--begin", help="a kept state that the reward goes on from, instead of learning words first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.begin and not options.reward_steps:
        parser.error("--begin goes on with the reward: it needs --reward-steps")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    photos = Photos(options.features, options.patches, options.width)
    data = Data(options.data, photos)
    counts = collections.Counter(word for photo in data.learned for caption in data.captions[photo] for word in caption)
    words = ["<pad>", "<s>", "</s>", "<unk>"] + [word for word, count in counts.items() if count >= 4]
    model = Captioner(options.width, options.patches, len(words), options.dropout)
    sample = photos.take([data.views[photo][0] for photo in data.learned[::20]]).flatten(0, 1)
    model.mean.copy_(sample.mean(0))
    model.deviation.copy_(sample.std(0) + 1e-3)
    models = trained(model, photos, data, words, options)
    if options.best == 0:
        say = lambda features: [[text] for text in greedy(models[0], features)]
    else:
        say = lambda features: likeliest(models, features, options.best)
    write(say, photos, data, words, options)


if __name__ == "__main__":
    main()
