#!/usr/bin/env python3
r"""Questions that tell photos apart which look alike (docs/TRAINING.md).

    python3 Benchmarks/near_photos draw --features DIR/KEY --data coco-vqa/captions.jsonl --out sheets
    python3 Benchmarks/near_photos collect --out questions.jsonl sheets
    python3 Benchmarks/near_photos deny --features DIR/KEY --data coco-vqa/captions.jsonl \
        --derived coco-vqa/forms.jsonl --out coco-vqa/near.jsonl

`draw` makes sheets of twelve photos that look alike, sheets/000.png and so on, and sheets/photos.json with what stands on each;
GUIDE.md beside this file says how sheets/000.txt is written. `collect` makes of all such files what `memvp data import asked`
reads. `deny` puts two thirds of the no to "is this a …" that `memvp data derive` found on photos like those of the yes. DIR/KEY
are features that `memvp train --cache DIR` has kept, without .f16 and .index. Needs NumPy and Pillow.
"""
import argparse
import collections
import hashlib
import json
import os
import random
import re

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLUMNS, ROWS, SIDE = 4, 3, 300
SMALL_WORDS = set("is this there a an any are could be photo picture of the some".split())
LINE = re.compile(r"([A-Z][ -~]*\?) \| y ?([A-L]*) \| n ?([A-L]*)")


def photos_of(files, split):
    photos = {}
    for file in files:
        with open(file) as lines:
            for row in map(json.loads, lines):
                if row.get("split", "train") == split:
                    photos[os.path.normpath(os.path.join(os.path.dirname(file), row["image"]))] = None
    return list(photos)


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
    means = np.array(means) - np.mean(means, 0)
    return kept, means / np.linalg.norm(means, axis=1, keepdims=True)


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


def draw(options):
    photos, values = directions(options.features, photos_of(options.data, options.split), options.patches)
    os.makedirs(options.out, exist_ok=True)
    index = {}
    for number, group in enumerate(grouped(values, options.near, options.seed)):
        index[f"{number:03}"] = [photos[member] for member in group]
        sheet(index[f"{number:03}"]).save(f"{options.out}/{number:03}.png")
    with open(f"{options.out}/photos.json", "w") as file:
        json.dump(index, file)
    print(f"{len(index)} sheets of {len(photos)} photos")


def collect(options):
    questions = {}  # by wording without case: its first spelling, and for each photo the answers
    for folder in options.sheets:
        with open(f"{folder}/photos.json") as file:
            index = json.load(file)
        for name, photos in index.items():
            if not os.path.exists(f"{folder}/{name}.txt"):
                continue
            with open(f"{folder}/{name}.txt") as lines:
                for line in filter(None, map(str.strip, lines)):
                    said = LINE.fullmatch(line)
                    if not said or set(said[2]) & set(said[3]):
                        raise SystemExit(f"{folder}/{name}.txt: not of the form: {line}")
                    answers = questions.setdefault(said[1].lower(), (said[1], {}))[1]
                    for answer, letters in (("yes", said[2]), ("no", said[3])):
                        for letter in letters:
                            photo = os.path.splitext(os.path.basename(photos[ord(letter) - ord("A")]))[0]
                            answers.setdefault(photo.removeprefix(options.prefix), set()).add(answer)
    with open(options.out, "w") as file:
        for question, photos in questions.values():
            sides = {side: sorted(p for p, said in photos.items() if said == {side}) for side in ("no", "yes")}
            sides = {side: names for side, names in sides.items() if names}
            if sides:
                row = {"question": question, "answers": sides, "kind": "written"}
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
    print(f"{len(questions)} questions")


def deny(options):
    """Rows of the split: all but two thirds of the no to `derived:is-this`, which near photos have in their place."""
    with open(options.derived) as lines:
        rows = [row for row in map(json.loads, lines) if row["split"] == options.split]
    said = collections.defaultdict(list)  # the words of each caption of a photo
    for file in options.data:
        with open(file) as lines:
            for row in map(json.loads, lines):
                if row["split"] == options.split:
                    photo = os.path.normpath(os.path.join(os.path.dirname(file), row["image"]))
                    said[photo].append(set(words_of(row["caption"])))
    folder = os.path.dirname(options.derived)
    photos, values = directions(options.features, list(said), options.patches)
    places, order, near = {photo: place for place, photo in enumerate(photos)}, random.Random(options.seed), []
    for row in rows:
        photo = os.path.normpath(os.path.join(folder, row["image"]))
        noun = [word for word in words_of(row["question"]) if word not in SMALL_WORDS][-1:]
        if row["kind"] != "derived:is-this" or row["answer"] != "yes" or not noun or photo not in places:
            continue
        names = forms(noun[0])
        alike = np.argsort(-(values @ values[places[photo]]))[1:41]
        without = [
            photos[other] for other in alike
            if len(said[photos[other]]) >= options.captions and not any(names & words for words in said[photos[other]])]
        if without:
            near.append(dict(row, image=os.path.relpath(order.choice(without[:8]), folder), answer="no"))
    denied = [row for row in rows if row["kind"] == "derived:is-this" and row["answer"] == "no"]
    count = min(len(near), 2 * len(denied) // 3)
    kept = [row for row in rows if row["kind"] != "derived:is-this" or row["answer"] != "no"]
    kept += order.sample(denied, len(denied) - count) + order.sample(near, count)
    with open(options.out, "w") as file:
        for row in kept:
            file.write(json.dumps(row) + "\n")
    print(f"{len(kept)} rows, {count} of them on near photos")


def words_of(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def forms(noun):
    """Forms of a noun that a caption may name it by."""
    one = {noun} | {noun[:-len(end)] + put for end, put in (("ies", "y"), ("es", ""), ("s", "")) if noun.endswith(end)}
    return one | {word + end for word in one for end in ("s", "es")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("draw", help="draw sheets of photos that look alike")
    one.add_argument("--features", required=True, help="the store's files, without .f16 and .index")
    one.add_argument("--patches", type=int, default=81)
    one.add_argument("--data", action="append", required=True, help="rows in JSON Lines that name the photos")
    one.add_argument("--split", default="train")
    one.add_argument("--near", type=int, default=22, help="from how many nearest a sheet's photos are drawn")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--out", required=True, help="the folder to draw into")
    one.set_defaults(run=draw)
    two = commands.add_parser("collect", help="make one file of what was written beside the sheets")
    two.add_argument("sheets", nargs="+", help="folders of sheets")
    two.add_argument("--prefix", default="", help="what photos' names begin with, to be left out")
    two.add_argument("--out", required=True)
    two.set_defaults(run=collect)
    three = commands.add_parser("deny", help="deny of near photos what is derived from captions")
    three.add_argument("--features", required=True, help="the store's files, without .f16 and .index")
    three.add_argument("--patches", type=int, default=81)
    three.add_argument("--data", action="append", required=True, help="captions of the photos, in JSON Lines")
    three.add_argument("--derived", required=True, help="what memvp data derive made of them")
    three.add_argument("--captions", type=int, default=2, help="captions that must not name the thing")
    three.add_argument("--split", default="train")
    three.add_argument("--seed", type=int, default=7)
    three.add_argument("--out", required=True, help="the rows to write, in the folder of --derived")
    three.set_defaults(run=deny)
    options = parser.parse_args()
    options.run(options)


main()
