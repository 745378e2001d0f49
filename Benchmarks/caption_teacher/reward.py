"""Self-critical training with CIDEr-D, as `memvp train` has it (Rennie et al., arXiv 1612.00563; the baseline of Luo,
arXiv 2003.09971).

A caption that names something twice loses PENALTY for each such word, and one without an end UNENDED: n-grams hardly mind either.
"""
import collections
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from captioner import BEGIN, END, UNKNOWN
from saying import draw

EACH, BATCH, RATE, WARM_UP, AVERAGE = 5, 64, 1e-4, 20, 0.98
PENALTY, UNENDED = 0.15, 0.5
SMALL_WORDS = set(
    "a an the of in on at and with is are to his her their its by while from near other it that another some up down out for one"
    " two three through into over as has next front there wearing white black red blue green yellow brown orange pink grey gray"
    " purple".split())


def named_again(words):
    named = [word for word in words if word not in SMALL_WORDS]
    return len(named) - len(set(named))


def grams(words):
    return collections.Counter(tuple(words[i:i + n]) for n in range(1, 5) for i in range(len(words) - n + 1))


class CIDErD:
    """CIDEr-D (Vedantam et al., 2015) with the document frequencies of the photos that it is made of."""

    def __init__(self, captions):
        self.frequency = collections.Counter()
        for references in captions.values():
            self.frequency.update({gram for caption in references for gram in grams(caption)})
        self.documents = math.log(len(captions))
        self.references = {photo: [self.vector(c) for c in references] for photo, references in captions.items()}

    def vector(self, words):
        weights, norms = [{}, {}, {}, {}], [0.0] * 4
        for gram, count in grams(words).items():
            weight = count * (self.documents - math.log(max(1, self.frequency.get(gram, 0))))
            weights[len(gram) - 1][gram] = weight
            norms[len(gram) - 1] += weight * weight
        return weights, [math.sqrt(norm) for norm in norms], len(words)

    def score(self, words, photo):
        weights, norms, length = self.vector(words)
        total = 0.0
        for others, their_norms, their_length in self.references[photo]:
            alike = 0.0
            for own, norm, other, their_norm in zip(weights, norms, others, their_norms):
                if norm and their_norm:
                    alike += sum(min(w, other[g]) * other[g] for g, w in own.items() if g in other) / (norm * their_norm)
            total += alike * math.exp(-(length - their_length) ** 2 / 72)
        return total / len(self.references[photo]) / 4 * 10


def rewarded(model, photos, data, learned, words, schedule, steps, seed=1):
    """Trains the model for `steps` of a cosine schedule of length `schedule`; leaves the running mean of its parameters in it."""
    metric = CIDErD({photo: data.captions[photo] for photo in learned})
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01, betas=(0.9, 0.98))
    order, mean, waiting, recent = np.random.default_rng(seed), None, [], []
    for step in range(steps):
        if len(waiting) < BATCH:
            waiting = list(order.permutation(len(learned)))
        chosen = [learned[waiting.pop()] for _ in range(BATCH)]
        features = photos.take([order.choice(data.views[photo]) for photo in chosen])
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / schedule))
        model.eval()
        said = draw(model, features, EACH).clone()
        rewards = []
        for index, tokens in enumerate(said.tolist()):
            caption = [words[token] for token in tokens if token > UNKNOWN]
            rewards.append(
                metric.score(caption, chosen[index // EACH]) - PENALTY * named_again(caption)
                - (0 if END in tokens else UNENDED))
        reward = torch.tensor(rewards).view(BATCH, EACH)
        advantage = (reward - reward.mean(1, keepdim=True)) * EACH / (EACH - 1)
        model.train()
        before = torch.cat([torch.full((len(said), 1), BEGIN), said[:, :-1]], 1)
        real = said > 0
        states = model.read(model.see(features), before, EACH)
        losses = F.cross_entropy(model.logits(states[real]), said[real], reduction="none")
        loss = (advantage.view(-1, 1).expand_as(said)[real] * losses).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            state = model.state_dict()
            if mean is None:
                mean = {name: value.clone() for name, value in state.items()}
            for name, value in state.items():
                mean[name].lerp_(value, 1 - AVERAGE)
        recent.append(reward.mean().item())
        if step % 20 == 19:
            print(f"step {step + 1}: reward {np.mean(recent[-20:]):.3f}", flush=True)
    model.load_state_dict(mean)
