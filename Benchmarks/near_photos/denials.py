"""Denials of what is derived from captions, put on photos like those of which it is affirmed."""
import collections
import json
import os
import random

import numpy as np

from likeness import directions, rows_of, words_of

# What a question has beside the thing that it asks of.
ASKING_WORDS = set("is this there a an any are could be photo picture of the some".split())
ODD = [("man", "men"), ("woman", "women"), ("child", "children"), ("person", "people"), ("knife", "knives"), ("shelf", "shelves")]


def deny(options):
    """Rows of the split: all but two thirds of the no to `derived:is-this`, which near photos have in their place."""
    folder = os.path.dirname(options.derived)
    if os.path.realpath(os.path.dirname(options.out)) != os.path.realpath(folder):
        raise SystemExit(f"{options.out} does not stand beside {options.derived}, whose paths it has")
    rows = [(photo, row) for photo, row in rows_of(options.derived, options.split)]
    said = collections.defaultdict(list)  # the words of each caption of a photo
    for file in options.data:
        for photo, row in rows_of(file, options.split):
            if "caption" in row:
                said[photo].append(set(words_of(row["caption"])))
    photos, values = directions(options.features, list(said), options.patches)
    places, order = {photo: place for place, photo in enumerate(photos)}, random.Random(options.seed)
    spelled = {photo: row["image"] for photo, row in rows}
    affirmed = collections.defaultdict(set)  # the photos of each noun
    for photo, row in rows:
        if row["answer"] == "yes":
            affirmed[noun_of(row["question"])].add(photo)
    near = {}
    for photo, row in rows:
        noun = noun_of(row["question"])
        if row["kind"] != "derived:is-this" or row["answer"] != "yes" or not noun or photo not in places:
            continue
        names = forms(noun)
        yes = set().union(*(affirmed[name] for name in names))
        alike = np.argsort(-(values @ values[places[photo]]))[1:41]
        without = [
            photos[other] for other in alike
            if photos[other] in spelled and photos[other] not in yes and len(said[photos[other]]) >= options.captions
            and not any(names & words for words in said[photos[other]])]
        if without:
            chosen = order.choice(without[:8])
            near[row["question"], chosen] = dict(row, image=spelled[chosen], answer="no")
    if not near:
        raise SystemExit(f"{options.derived} affirms nothing of the photos of {', '.join(options.data)}")
    rows = [row for _, row in rows]
    denied = [row for row in rows if row["kind"] == "derived:is-this" and row["answer"] == "no"]
    count = min(len(near), 2 * len(denied) // 3)
    kept = [row for row in rows if row["kind"] != "derived:is-this" or row["answer"] != "no"]
    kept += order.sample(denied, len(denied) - count) + order.sample(list(near.values()), count)
    with open(options.out, "w") as file:
        for row in kept:
            file.write(json.dumps(row) + "\n")
    print(f"{len(kept)} rows, {count} of them on near photos")


def noun_of(question):
    """The word that a question asks of: its last."""
    words = [word for word in words_of(question) if word not in ASKING_WORDS]
    return words[-1] if words else ""


def forms(noun):
    """Forms of a noun that a caption may name it by."""
    one = {noun} | {noun[:-len(end)] + put for end, put in (("ies", "y"), ("es", ""), ("s", "")) if noun.endswith(end)}
    one |= {some for pair in ODD for some in pair if one & set(pair)}
    return one | {word + end for word in one for end in ("s", "es")} | {word[:-1] + "ies" for word in one if word[-1:] == "y"}
