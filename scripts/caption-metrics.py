#!/usr/bin/env python3
"""Makes Tests/FineTuningTests/Fixtures/caption-metrics.json: made-up sentences and what the field's reference code
(pip install pycocoevalcap numpy) scores them. Sentences are drawn from a small vocabulary of nonsense; they are handed
over as tokens, so no tokenizer of Java's is needed.

    scripts/caption-metrics.py > Tests/FineTuningTests/Fixtures/caption-metrics.json
"""
import contextlib
import io
import json
import random

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

WORDS = ("zu ra mi tok pel vas kin dor lum esk fa gor bim nal tev oxi yud hap sil wem").split()


def sentence(rng, shortest, longest):
    # Squared, so that some words are frequent and n-grams repeat.
    return [WORDS[int(rng.random() ** 2 * len(WORDS))] for _ in range(rng.randint(shortest, longest))]


def scored(samples):
    references = {i: [" ".join(r) for r in s["references"]] for i, s in enumerate(samples)}
    hypotheses = {i: [" ".join(s["hypothesis"])] for i, s in enumerate(samples)}
    with contextlib.redirect_stdout(io.StringIO()):
        bleu, _ = Bleu(4).compute_score(references, hypotheses, verbose=0)
        rouge, _ = Rouge().compute_score(references, hypotheses)
        cider, each = Cider().compute_score(references, hypotheses)
    return {
        "samples": [[" ".join(s["hypothesis"])] + [" ".join(r) for r in s["references"]] for s in samples],
        "bleu": [float(b) for b in bleu],
        "rouge_l": float(rouge),
        "cider_d": float(cider),
        "cider_d_of_each": [float(c) for c in each],
    }


def draw(rng, count, references, hypothesis=(0, 14)):
    samples = []
    for _ in range(count):
        refs = [sentence(rng, 1, 14) for _ in range(rng.randint(*references))]
        hyp = list(rng.choice(refs)) if rng.random() < 0.5 else sentence(rng, *hypothesis)
        for _ in range(rng.randint(0, 3)):  # a few words changed, so that n-grams of every order match at times
            if hyp:
                hyp[rng.randrange(len(hyp))] = rng.choice(WORDS)
        samples.append({"hypothesis": hyp, "references": refs})
    return samples


def main():
    rng = random.Random(20261123)
    same = [{"hypothesis": s, "references": [s]} for s in (sentence(rng, 4, 12) for _ in range(10))]
    cases = {
        "three hundred with up to five references": draw(rng, 300, (1, 5)),
        "one reference each": draw(rng, 60, (1, 1)),
        "one photo": draw(rng, 1, (5, 5), (6, 9)),
        "two photos": draw(rng, 2, (3, 3), (6, 9)),
        "identical": same,
        "nothing in common": [{"hypothesis": ["a", "b", "c", "d", "e"], "references": [sentence(rng, 5, 9)]}
                              for _ in range(6)],
        "empty": [{"hypothesis": [], "references": [sentence(rng, 3, 9)]} for _ in range(4)],
        "longer than the references": [{"hypothesis": sentence(rng, 20, 30), "references": [sentence(rng, 3, 6)]}
                                       for _ in range(20)],
        "shorter than the references": [{"hypothesis": sentence(rng, 1, 3), "references": [sentence(rng, 9, 14)]}
                                        for _ in range(20)],
    }
    print("{" + ",\n".join(f"{json.dumps(name)}: {json.dumps(scored(samples))}" for name, samples in cases.items()) + "}")


main()
