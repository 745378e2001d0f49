"""What the teacher is shown: captions by photo, and the features that `memvp train --cache` has kept of each."""
import collections
import hashlib
import itertools
import json
import os
import re

import numpy as np
import torch

VIEWS = 4  # that are looked for


def words_of(caption):
    return re.findall(r"[a-z0-9']+", caption.lower())


class Photos:
    """Features by photo and view, straight from the store's file, PREFIX.f16 beside PREFIX.index."""

    def __init__(self, prefix, patches, width):
        with open(prefix + ".index") as lines:
            self.rows = {line.strip(): number for number, line in enumerate(lines)}
        self.values = np.memmap(prefix + ".f16", np.float16, "r").reshape(-1, patches, width)

    def views(self, path):
        """The rows of a photo's views, in their order from the whole on, as far as the store has them."""
        with open(path, "rb") as photo:
            name = hashlib.sha256(photo.read()).hexdigest()
        keys = [name] + [hashlib.sha256(f"{name} view {n}".encode()).hexdigest() for n in range(1, VIEWS)]
        return [self.rows[key] for key in itertools.takewhile(self.rows.__contains__, keys)]

    def take(self, rows):
        """Features [rows, patches, width]."""
        order = np.argsort(rows)
        taken = np.empty((len(rows), *self.values.shape[1:]), np.float32)
        taken[order] = self.values[np.array(rows)[order]]  # in the file's order: a disk is faster so
        return torch.from_numpy(taken)


class Data:
    """The captions of JSON Lines files, by photo; photos that the store lacks are left out."""

    def __init__(self, files, photos):
        self.captions, self.split = collections.defaultdict(list), {}
        self.files = {file: {} for file in files}  # photo to the row's own name of it, in order
        for file in files:
            with open(file) as lines:
                for row in map(json.loads, lines):
                    photo = os.path.join(os.path.dirname(file), row["image"])
                    self.captions[photo].append(words_of(row["caption"]))
                    self.split[photo] = row["split"]
                    self.files[file][photo] = row["image"]
        self.views = {photo: photos.views(photo) for photo in self.captions}
        self.learned = [photo for photo in self.captions if self.split[photo] == "train" and self.views[photo]]
