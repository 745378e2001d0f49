"""Makes a data set in ScienceQA's form with problems and drawings of our own, and what is to be expected of it.

Run as `python make_scienceqa.py` in this folder (Pillow). `expected.json` holds, for made-up answers to the problems, the nine
accuracies in percent, and the prompts of all formats, computed here from the definitions and not by the code under test:
NAT, SOC, LAN by `subject`; TXT where `hint` is not empty, IMG where `image` is not null or empty, NO where neither is so;
G1-6 and G7-12 by `grade`; Avg over all.
"""

import json
import pathlib
import random

from PIL import Image, ImageDraw

here = pathlib.Path(__file__).parent
rng = random.Random(2026)
SUBJECTS = {"NAT": "natural science", "SOC": "social science", "LAN": "language science"}
COLOURS = ["red", "green", "blue", "yellow"]
SHAPES = ["circle", "square"]


def draw(colour, shape, path):
    image = Image.new("RGBA", (48, 40), (255, 255, 255, 255))
    pen = ImageDraw.Draw(image)
    (pen.ellipse if shape == "circle" else pen.rectangle)((8, 6, 38, 34), fill=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "PNG", optimize=True)


problems, captions, order = {}, {}, {"train": [], "val": [], "test": [], "minitest": []}
for number in range(1, 31):
    split = "test" if number > 6 else ("train" if number > 3 else "val")
    kind = ["NAT", "SOC", "LAN"][number % 3]
    colour, shape = rng.choice(COLOURS), rng.choice(SHAPES)
    has_image, has_hint = number % 4 in (1, 2), number % 4 in (2, 3)
    choices = rng.sample(COLOURS, 2 + number % 3)
    if colour not in choices:
        choices[rng.randrange(len(choices))] = colour
    pid = str(number * 7)
    problems[pid] = {
        "question": f"Which colour does the {shape}  have?" if number % 5 else f"What is {colour} called? ",
        "choices": choices, "answer": choices.index(colour),
        "hint": f"The drawing shows a {shape}.\nIt is one of {len(choices)} colours." if has_hint else "",
        "image": "image.png" if has_image else None, "task": "closed choice", "grade": f"grade{1 + number % 12}",
        "subject": SUBJECTS[kind], "topic": "colours", "category": "drawings", "skill": "Name colours",
        "lecture": "Colours have names.\nRed, green and blue are some." if number % 2 else "",
        "solution": f"The {shape} is {colour}.", "split": split,
    }
    order[split].append(pid)
    if has_image:
        draw(colour, shape, here / "images" / split / pid / "image.png")
        captions[pid] = f"A {colour} {shape} on white."
rng.shuffle(order["test"])
order["minitest"] = order["test"][-4:]  # three of them with images, which lie in the folder of test
(here / "problems.json").write_text(json.dumps(problems, indent=1) + "\n")
(here / "pid_splits.json").write_text(json.dumps(order) + "\n")
(here / "captions.json").write_text(json.dumps({"captions": captions}) + "\n")

answers = {pid: rng.randrange(len(problems[pid]["choices"]) + 1) - (rng.random() < 0.1) for pid in order["test"]}
groups = {name: [] for name in ["NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12", "Avg"]}
for pid, given in answers.items():
    p = problems[pid]
    right = given == p["answer"]
    groups[next(k for k, v in SUBJECTS.items() if v == p["subject"])].append(right)
    if p["hint"]:
        groups["TXT"].append(right)
    if p["image"]:
        groups["IMG"].append(right)
    if not (p["hint"] or p["image"]):
        groups["NO"].append(right)
    groups["G1-6" if int(p["grade"][5:]) < 7 else "G7-12"].append(right)
    groups["Avg"].append(right)

LINES = {"Q": "Question: {question}", "C": "Context: {context}", "M": "Options: {options}"}
FORMS = {
    "CQM": "C Q M", "QM": "Q M", "QCM": "Q C M", "QCML": "Q C M L", "QCME": "Q C M E", "QCMLE": "Q C M LE",
    "QCLM": "Q C L M", "QCEM": "Q C E M", "QCLEM": "Q C LE M",
}
WHY = {"L": "BECAUSE: {lecture}", "E": "BECAUSE: {solution}", "LE": "BECAUSE: {lecture} {solution}"}


def prompt(p, caption, form):
    values = {
        "question": p["question"], "context": (p["hint"] + " " + caption).strip() or "N/A",
        "options": " ".join(f"({'ABCDE'[i]}) {c}" for i, c in enumerate(p["choices"])),
        "lecture": p["lecture"].replace("\n", "\\n"), "solution": p["solution"].replace("\n", "\\n"),
    }
    lines = [(LINES | WHY)[part].format(**values) for part in FORMS[form].split()]
    return "\n".join(lines + ["Response:"]).replace("  ", " ").strip()


prompts = [
    {"id": pid, "input": form, "captions": used, "prompt": prompt(problems[pid], captions.get(pid, "") if used else "", form)}
    for pid in order["test"][:8] for form in FORMS for used in (False, True)
]
accuracy = {name: 100 * sum(rights) / len(rights) for name, rights in groups.items()}
counts = {name: len(rights) for name, rights in groups.items()}
expected = {"answers": answers, "accuracy": accuracy, "counts": counts, "prompts": prompts}
(here / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
