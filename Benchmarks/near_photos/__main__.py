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
ODD = [("man", "men"), ("woman", "women"), ("child", "children"), ("person", "people"), ("knife", "knives"), ("shelf", "shelves")]
LINE = re.compile(r"([A-Z][ -~]*\?) \| y ?([A-L]*) \| n ?([A-L]*)")


def rows_of(file, split):
    """Rows of a split with their photos' real paths."""
    with open(file) as lines:
        for row in map(json.loads, filter(str.strip, lines)):
            if row.get("split", "train") == split:
                yield os.path.realpath(os.path.join(os.path.dirname(file), row["image"])), row


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
    photos = list({photo: None for file in options.data for photo, _ in rows_of(file, options.split)})
    photos, values = directions(options.features, photos, options.patches)
    os.makedirs(options.out, exist_ok=True)
    index = {}
    # What is written beside other sheets would be answers to these.
    with open(f"{options.out}/photos.json", "x") as file:
        for number, group in enumerate(grouped(values, options.near, options.seed)):
            index[f"{number:03}"] = [photos[member] for member in group]
            sheet(index[f"{number:03}"]).save(f"{options.out}/{number:03}.png")
        json.dump(index, file)
    print(f"{len(index)} sheets of {len(photos)} photos")


def said_on(sheet, count):
    """The question, the places of yes and those of no of each line."""
    with open(sheet) as lines:
        for line in filter(None, map(str.strip, lines)):
            said = LINE.fullmatch(line)
            if not said:
                raise SystemExit(f"{sheet}: not of the form: {line}")
            yes, no = ([ord(letter) - ord("A") for letter in letters] for letters in (said[2], said[3]))
            if set(yes) & set(no) or max(yes + no, default=0) >= count:
                raise SystemExit(f"{sheet}: a letter on both sides, or of no photo: {line}")
            yield said[1], yes, no


def collect(options):
    questions = {}  # by wording without case: its first spelling, and for each photo the answers
    known = {}  # the photo of each name
    for folder in options.sheets:
        with open(f"{folder}/photos.json") as file:
            index = json.load(file)
        for sheet, photos in index.items():
            if not os.path.exists(f"{folder}/{sheet}.txt"):
                continue
            names = [os.path.splitext(os.path.basename(photo))[0].removeprefix(options.prefix) for photo in photos]
            for name, photo in zip(names, photos):
                if known.setdefault(name, photo) != photo:
                    raise SystemExit(f"{photo} and {known[name]} have one name")
            for question, *sides in said_on(f"{folder}/{sheet}.txt", len(photos)):
                answers = questions.setdefault(question.lower(), (question, {}))[1]
                for answer, places in zip(("yes", "no"), sides):
                    for place in places:
                        answers.setdefault(names[place], set()).add(answer)
    written = contradicted = 0
    with open(options.out, "w") as file:
        for question, photos in questions.values():
            sides = {side: sorted(p for p, said in photos.items() if said == {side}) for side in ("no", "yes")}
            sides = {side: names for side, names in sides.items() if names}
            contradicted += sum(len(said) > 1 for said in photos.values())
            if sides:
                row = {"question": question, "answers": sides, "kind": "written"}
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
                written += 1
    print(f"{written} questions; {contradicted} answers that contradict each other are left out")


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
    words = [word for word in words_of(question) if word not in SMALL_WORDS]
    return words[-1] if words else ""


def words_of(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def forms(noun):
    """Forms of a noun that a caption may name it by."""
    one = {noun} | {noun[:-len(end)] + put for end, put in (("ies", "y"), ("es", ""), ("s", "")) if noun.endswith(end)}
    one |= {some for pair in ODD for some in pair if one & set(pair)}
    return one | {word + end for word in one for end in ("s", "es")} | {word[:-1] + "ies" for word in one if word[-1:] == "y"}


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
