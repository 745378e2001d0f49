"""Sheets of twelve photos that look alike, and beside each what people asked of photos like them."""
import collections
import json
import os
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from likeness import Words, directions, rows_of, unit

COLUMNS, ROWS, SIDE = 4, 3, 300
ASKED = 26  # questions of people beside a sheet


def grouped(directions, near, seed):
    """Each photo once: some photo, and eleven drawn from the `near` nearest that are left."""
    order, free, groups = random.Random(seed), np.ones(len(directions), bool), []
    for first in order.sample(range(len(free)), len(free)):
        if not free[first]:
            continue
        free[first] = False
        likeness = np.where(free, directions @ directions[first], -2)
        around = [other for other in np.argsort(-likeness)[:near] if free[other]]
        drawn = order.sample(around, min(COLUMNS * ROWS - 1, len(around)))
        free[drawn] = False
        groups.append([first] + drawn)
    return groups


def sheet(photos):
    paper = Image.new("RGB", (COLUMNS * SIDE, ROWS * SIDE), "white")
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(size=26)
    for place, photo in enumerate(photos):
        x, y = place % COLUMNS * SIDE, place // COLUMNS * SIDE
        with Image.open(photo) as image:
            paper.paste(image.convert("RGB").resize((SIDE - 4, SIDE - 4), Image.Resampling.BICUBIC), (x, y))
        pen.rectangle((x, y, x + 28, y + 30), fill="black")
        pen.text((x + 6, y), chr(ord("A") + place), fill="white", font=font)
    return paper


class AskedQuestions:
    """What people asked, with what it was asked of."""

    def __init__(self, files, split, photos, values, words):
        """Questions of `files` on `photos`, of which `values` and `words` are the directions."""
        places = {photo: place for place, photo in enumerate(photos)}
        asked = collections.defaultdict(set)
        for file in files:
            for photo, row in rows_of(file, split):
                if "question" in row and photo in places:
                    asked[row["question"]].add(places[photo])
        if not asked:
            raise SystemExit(f"{', '.join(files)} asks nothing of these photos")
        self.texts = sorted(asked)
        self.of = collections.defaultdict(list)  # the questions of each photo
        for question, text in enumerate(self.texts):
            for place in asked[text]:
                self.of[place].append(question)
        self.values, self.words = values, words
        self.directions = unit(np.stack([values[sorted(asked[text])].mean(0) for text in self.texts]))
        self.named = [[words.places[word] for word in Words.of(text) if word in words.places] for text in self.texts]
        self.uses = np.zeros(len(self.texts))

    def beside(self, group, order):
        """Those asked of the group's photos, then those of photos like them, rather ones that name what its captions name and that
        were used seldom."""
        own = sorted({question for place in group for question in self.of[place]}, key=lambda q: self.uses[q])[:ASKED * 5 // 8]
        said = self.words.rows[group].mean(0)
        named = [np.minimum(1, 3 * said[words]).mean() if words else 0 for words in self.named]
        score = self.directions @ unit(self.values[group].mean(0)[None])[0] + 0.35 * np.array(named) - 0.06 * self.uses
        score[own] = -np.inf
        chosen = own + [q for q in np.argsort(-score)[:ASKED - len(own)] if score[q] > -np.inf]
        self.uses[chosen] += 1
        return [self.texts[question] for question in order.sample(chosen, len(chosen))]


def draw(options):
    if not 0 <= options.words <= 1:
        raise SystemExit(f"--words {options.words} is no part: it is one of 0 to 1")
    captions = collections.defaultdict(list)
    drawn = {photo for file in options.data for photo, _ in rows_of(file, options.split)}
    for file in options.data + options.like:
        for photo, row in rows_of(file, options.split):
            captions[photo] += [row["caption"]] if "caption" in row else []
    photos, values = directions(options.features, list(captions), options.patches)
    words = asked = None
    if options.words > 0 or options.asked:
        words = Words([captions[photo] for photo in photos], values)
        values = np.concatenate([values * (1 - options.words)**.5, words.rows * options.words**.5], 1)
    if options.asked:
        asked = AskedQuestions(options.asked, options.split, photos, values, words)
    members = [place for place, photo in enumerate(photos) if photo in drawn]
    if not members:
        raise SystemExit(f"{options.features} has features of none of the photos of {', '.join(options.data)}")
    os.makedirs(options.out, exist_ok=True)
    index, order = {}, random.Random(options.seed)
    # What is written beside other sheets would be answers to these.
    with open(f"{options.out}/photos.json", "x") as file:
        for number, group in enumerate(grouped(values[members], options.near, options.seed)):
            group = [members[member] for member in group]
            index[f"{number:03}"] = [photos[member] for member in group]
            sheet(index[f"{number:03}"]).save(f"{options.out}/{number:03}.png")
            if asked:
                with open(f"{options.out}/{number:03}.asked", "w") as list_file:
                    list_file.write("".join(text + "\n" for text in asked.beside(group, order)))
        json.dump(index, file)
    print(f"{len(index)} sheets of {len(members)} photos")
