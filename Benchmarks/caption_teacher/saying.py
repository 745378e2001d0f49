"""Captions out of captioners: drawn for the reward; for the rows greedy, or the likeliest by beam search."""
import torch

from captioner import BEGIN, END, PAD

BEAM, WORDS, LENGTH_POWER = 3, 18, 0.7


def greedy(model, features):
    """The tokens of one caption a photo, each word the likeliest."""
    said = draw(model, features, 1, longest=22, choose=lambda logits: logits.argmax(-1))
    return [[token for token in text if token not in (PAD, END)] for text in said.tolist()]


def at_random(logits):
    return torch.multinomial(logits.softmax(-1), 1)[:, 0]


@torch.inference_mode()
def draw(model, features, each, longest=20, choose=at_random):
    """Tokens [photos × each, longest] drawn at temperature 1, padded, with their END."""
    kept = model.begin(model.see(features), each)
    tokens = torch.full((len(features) * each, 1), BEGIN)
    ended = torch.zeros(len(tokens), dtype=torch.bool)
    said = []
    for place in range(longest):
        chosen = choose(model.step(kept, tokens, place)).masked_fill(ended, PAD)
        ended |= chosen == END
        said.append(chosen)
        tokens = chosen[:, None]
        if ended.all():
            break
    return torch.stack(said, 1)


@torch.inference_mode()
def likeliest(models, features, count):
    """For each photo the `count` likeliest captions by the mean of the models' logarithms, divided by their length to a power."""
    photos, kept = len(features), [model.begin(model.see(features), BEAM) for model in models]
    tokens = torch.full((photos * BEAM, 1), BEGIN)
    scores = torch.full((photos, BEAM), -1e9)
    scores[:, 0] = 0
    texts = torch.zeros(photos * BEAM, 0, dtype=torch.long)
    finished = [[] for _ in range(photos)]
    for place in range(WORDS):
        each = [model.step(state, tokens, place).log_softmax(-1) for model, state in zip(models, kept)]
        total = scores[:, :, None] + (sum(each) / len(models)).view(photos, BEAM, -1)
        ends = (total[:, :, END] / (place + 1) ** LENGTH_POWER).tolist()
        for index, alive in enumerate(scores.tolist()):
            finished[index] += [
                (ends[index][beam], texts[index * BEAM + beam].tolist())
                for beam, score in enumerate(alive) if score > -1e8]
        total[:, :, END] = -1e9
        scores, best = total.flatten(1).topk(BEAM, 1)
        chosen = best % total.shape[-1]
        parents = (torch.arange(photos)[:, None] * BEAM + best // total.shape[-1]).flatten()
        texts = torch.cat([texts[parents], chosen.view(-1, 1)], 1)
        tokens = chosen.view(-1, 1)
        for state in kept:
            for layer in state:
                layer[2], layer[3] = layer[2][parents], layer[3][parents]
    return [[text for _, text in sorted(texts, reverse=True)[:count]] for texts in finished]
