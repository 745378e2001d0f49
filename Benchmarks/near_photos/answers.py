"""What was written beside sheets: made one file of, and held against what people answered."""
import collections
import json
import os
import re

from likeness import rows_of

LINE = re.compile(r"([A-Z][ -~]*\?) \| y ?([A-L]*) \| n ?([A-L]*)")


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


def written_beside(folders):
    """The question, the photo and the answer of each letter beside the sheets of the folders."""
    for folder in folders:
        with open(f"{folder}/photos.json") as file:
            index = json.load(file)
        for sheet, photos in index.items():
            if os.path.exists(f"{folder}/{sheet}.txt"):
                for question, *sides in said_on(f"{folder}/{sheet}.txt", len(photos)):
                    for answer, places in zip(("yes", "no"), sides):
                        for place in places:
                            yield question, photos[place], answer


def collect(options):
    questions = {}  # by wording, case and spaces aside: its first spelling, and for each photo the answers
    known = {}  # the photo of each name
    for question, photo, answer in written_beside(options.sheets):
        name = os.path.splitext(os.path.basename(photo))[0].removeprefix(options.prefix)
        if known.setdefault(name, photo) != photo:
            raise SystemExit(f"{photo} and {known[name]} have one name")
        questions.setdefault(" ".join(question.lower().split()), (question, {}))[1].setdefault(name, set()).add(answer)
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


def agree(options):
    """How often what was written is what people answered to the same question of the same photo, where they are of one mind."""
    people = collections.defaultdict(set)
    for file in options.data:
        for photo, row in rows_of(file, options.split):
            if "question" in row:
                people[row["question"], photo] |= {row["answer"]} if "answer" in row else set(row["answers"])
    counts = collections.Counter(
        (theirs, answer) for question, photo, answer in written_beside(options.sheets)
        for theirs in people.get((question, photo), ()) if len(people[question, photo]) == 1)
    if not counts:
        raise SystemExit("no question was written that people answered of the same photo")
    for (theirs, here), count in sorted(counts.items()):
        print(f"people {theirs}, written {here}: {count}")
    same = sum(count for (theirs, here), count in counts.items() if theirs == here)
    print(f"{same} of {counts.total()} alike, {100 * same / counts.total():.1f} %")
