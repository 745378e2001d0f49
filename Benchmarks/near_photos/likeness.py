"""How alike photos are: by what the encoder makes of them, and by the words of their captions."""
import collections
import hashlib
import json
import os
import re

import numpy as np

# Words that tell no photo from another.
SMALL_WORDS = set(
    "a an any are as at be by could do does for from has have her his in is it its of on one or out some that the their there "
    "this to two up was were while who with photo picture".split())


def rows_of(file, split):
    """Rows of a split with their photos' real paths."""
    with open(file) as lines:
        for row in map(json.loads, filter(str.strip, lines)):
            if row.get("split", "train") == split:
                yield os.path.realpath(os.path.join(os.path.dirname(file), row["image"])), row


def words_of(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def unit(values):
    """Rows of length 1; those without direction stay nought."""
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)


def directions(prefix, photos, patches):
    """The photos that the store has, and for each its mean over the patches, less that of all photos, of length 1."""
    with open(prefix + ".index") as lines:
        rows = {line.strip(): number for number, line in enumerate(lines)}
    values = np.memmap(prefix + ".f16", np.float16, "r").reshape(len(rows), patches, -1)
    kept, means = [], []
    for photo in photos:
        with open(photo, "rb") as file:
            row = rows.get(hashlib.sha256(file.read()).hexdigest())
        if row is not None:
            kept.append(photo)
            means.append(values[row].astype(np.float32).mean(0))
    if not kept:
        raise SystemExit(f"{prefix} has features of none of the {len(photos)} photos")
    return kept, unit(np.array(means) - np.mean(means, 0))


class Words:
    """What is said of photos as weights of words: seldom ones weigh more. One direction a photo."""

    def __init__(self, texts, values):
        """The words of `texts`, a list of strings a photo; words of fewer than three photos are left out. A photo of which nothing is
        said has the mean of the twelve nearest others by `values`: without any it would be unlike all that have some."""
        found = [collections.Counter(self.of(" ".join(text))) for text in texts]
        having = collections.Counter(word for words in found for word in words)
        kept = sorted(word for word, count in having.items() if count >= 3)
        if not kept:
            raise SystemExit("no word stands in the captions of three photos")
        self.places = {word: place for place, word in enumerate(kept)}
        weight = np.log(len(texts) / np.array([having[word] for word in kept], np.float32))
        self.rows = np.stack([self.counts(words) for words in found])
        self.rows = unit(np.log1p(self.rows) * weight)
        said = self.rows.any(1)
        for silent in np.flatnonzero(~said):
            nearest = np.argsort(-np.where(said, values @ values[silent], -2))[:min(12, said.sum())]
            self.rows[silent] = unit(self.rows[nearest].mean(0)[None])[0]

    @staticmethod
    def of(text):
        return [word.removesuffix("s") if len(word) > 3 else word for word in words_of(text) if word not in SMALL_WORDS]

    def counts(self, words):
        row = np.zeros(len(self.places), np.float32)
        for word, count in words.items():
            if word in self.places:
                row[self.places[word]] = count
        return row
