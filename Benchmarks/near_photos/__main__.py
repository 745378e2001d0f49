#!/usr/bin/env python3
r"""Questions that tell photos apart which look alike (docs/TRAINING.md).

    python3 Benchmarks/near_photos draw --features DIR/KEY --data coco-vqa/captions.jsonl --out sheets \
        --words 0.5 --asked coco-vqa/qa.jsonl
    python3 Benchmarks/near_photos collect --out questions.jsonl sheets
    python3 Benchmarks/near_photos agree --data coco-vqa/qa.jsonl sheets
    python3 Benchmarks/near_photos deny --features DIR/KEY --data coco-vqa/captions.jsonl \
        --derived coco-vqa/forms.jsonl --out coco-vqa/near.jsonl

`draw` makes sheets of twelve photos that look alike, sheets/000.png and so on, and sheets/photos.json with what stands on each;
with --asked also sheets/000.asked, what people asked of these photos or those of --like that are like them. GUIDE.md beside this
file says how sheets/000.txt is written. `collect` makes of all such files what `memvp data import asked` reads; `agree` counts how
often they say what people said. `deny` puts two thirds of the no to "is this a …" that `memvp data derive` found on photos like those of the yes. DIR/KEY
are features that `memvp train --cache DIR` has kept, without .f16 and .index. Needs NumPy and Pillow.
"""
import argparse

from answers import agree, collect
from denials import deny
from sheets import draw


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    drawing = commands.add_parser("draw", help="draw sheets of photos that look alike")
    drawing.add_argument("--features", required=True, help="the store's files, without .f16 and .index")
    drawing.add_argument("--patches", type=int, default=81)
    drawing.add_argument("--data", action="append", required=True, help="rows in JSON Lines that name the photos")
    drawing.add_argument("--split", default="train")
    drawing.add_argument("--words", type=float, default=0, help="the part that captions' words have in likeness, 0 to 1")
    drawing.add_argument("--asked", action="append", help="questions of people in JSON Lines: beside each sheet a list of such")
    drawing.add_argument("--like", action="append", default=[], help="rows of photos that are not drawn, but may have been asked of")
    drawing.add_argument("--near", type=int, default=22, help="from how many nearest a sheet's photos are drawn")
    drawing.add_argument("--seed", type=int, default=1)
    drawing.add_argument("--out", required=True, help="the folder to draw into")
    drawing.set_defaults(run=draw)
    collecting = commands.add_parser("collect", help="make one file of what was written beside the sheets")
    collecting.add_argument("sheets", nargs="+", help="folders of sheets")
    collecting.add_argument("--prefix", default="", help="what photos' names begin with, to be left out")
    collecting.add_argument("--out", required=True)
    collecting.set_defaults(run=collect)
    agreeing = commands.add_parser("agree", help="hold what was written against what people answered")
    agreeing.add_argument("sheets", nargs="+", help="folders of sheets")
    agreeing.add_argument("--data", action="append", required=True, help="people's answers, in JSON Lines")
    agreeing.add_argument("--split", default="train")
    agreeing.set_defaults(run=agree)
    denying = commands.add_parser("deny", help="deny of near photos what is derived from captions")
    denying.add_argument("--features", required=True, help="the store's files, without .f16 and .index")
    denying.add_argument("--patches", type=int, default=81)
    denying.add_argument("--data", action="append", required=True, help="captions of the photos, in JSON Lines")
    denying.add_argument("--derived", required=True, help="what memvp data derive made of them")
    denying.add_argument("--captions", type=int, default=2, help="captions that must not name the thing")
    denying.add_argument("--split", default="train")
    denying.add_argument("--seed", type=int, default=7)
    denying.add_argument("--out", required=True, help="the rows to write, in the folder of --derived")
    denying.set_defaults(run=deny)
    options = parser.parse_args()
    options.run(options)


main()
