"""The captioner: a decoder of two transformer layers that attend to a photo's patches; words, not pieces of words."""
import math

import torch
from torch import nn
from torch.nn import functional as F

PAD, BEGIN, END, UNKNOWN = range(4)
NEVER = [PAD, BEGIN, UNKNOWN]  # what is not said
LONGEST, WIDTH, HEADS = 24, 256, 8


def heads(x):  # [n, tokens, width] to [n, heads, tokens, width / heads]
    return x.view(x.shape[0], -1, HEADS, WIDTH // HEADS).transpose(1, 2)


def attend(q, k, v, **more):
    return F.scaled_dot_product_attention(q, k, v, **more).transpose(1, 2).flatten(2)


class Captioner(nn.Module):
    def __init__(self, features, patches, words, dropout):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.project = nn.Sequential(nn.Linear(features, WIDTH), nn.ReLU())
        self.norm = nn.LayerNorm(WIDTH)
        self.patch = nn.Parameter(torch.randn(patches, WIDTH) * 0.02)
        self.words = nn.Embedding(words, WIDTH)
        nn.init.normal_(self.words.weight, 0, 0.03)
        self.position = nn.Parameter(torch.randn(LONGEST + 16, WIDTH) * 0.02)
        layer = nn.TransformerDecoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout, batch_first=True, norm_first=True, activation="gelu")
        self.decoder = nn.TransformerDecoder(layer, 2, nn.LayerNorm(WIDTH))
        self.dropout = nn.Dropout(dropout)

    def see(self, features):
        """Memory [photos, patches, width]."""
        return self.norm(self.project(self.dropout((features - self.mean) / self.deviation))) + self.patch

    def logits(self, x):
        logits = self.decoder.norm(x) @ self.words.weight.T
        logits[..., NEVER] = -1e9
        return logits

    def embedded(self, tokens, first=0):
        return self.words(tokens) * math.sqrt(WIDTH) / 2 + self.position[first:first + tokens.shape[1]]

    def read(self, seen, tokens, each=1):
        """States [photos × each, tokens, width] after the tokens of `each` captions of every photo."""
        x = self.dropout(self.embedded(tokens))
        for layer in self.decoder.layers:
            own = layer.self_attn
            q, k, v = map(heads, F.linear(layer.norm1(x), own.in_proj_weight, own.in_proj_bias).split(WIDTH, -1))
            left_out = own.dropout if self.training else 0.0
            x = x + layer.dropout1(own.out_proj(attend(q, k, v, is_causal=True, dropout_p=left_out)))
            q, k, v = self.across(layer, layer.norm2(x).reshape(len(seen), -1, WIDTH), seen)
            x = x + layer.dropout2(layer.multihead_attn.out_proj(attend(q, k, v, dropout_p=left_out).reshape(x.shape)))
            x = x + layer.dropout3(layer.linear2(layer.dropout(F.gelu(layer.linear1(layer.norm3(x))))))
        return x

    @staticmethod
    def across(layer, x, seen):
        """Queries of the text, keys and values of the photo."""
        weight, bias = layer.multihead_attn.in_proj_weight, layer.multihead_attn.in_proj_bias
        k, v = F.linear(seen, weight[WIDTH:], bias[WIDTH:]).split(WIDTH, -1)
        return heads(F.linear(x, weight[:WIDTH], bias[:WIDTH])), heads(k), heads(v)

    def begin(self, seen, each):
        """What `step` keeps of each layer: keys and values of the photo, then those of the text."""
        kept = []
        for layer in self.decoder.layers:
            _, k, v = self.across(layer, seen[:, :1], seen)
            kept.append([k.repeat_interleave(each, 0), v.repeat_interleave(each, 0), None, None])
        return kept

    def step(self, kept, tokens, place):
        """Logits [captions, words] of the word after tokens [captions, 1], the place-th."""
        x = self.embedded(tokens, place)
        for layer, state in zip(self.decoder.layers, kept):
            own, other = layer.self_attn, layer.multihead_attn
            q, k, v = map(heads, F.linear(layer.norm1(x), own.in_proj_weight, own.in_proj_bias).split(WIDTH, -1))
            state[2] = k if state[2] is None else torch.cat([state[2], k], 2)
            state[3] = v if state[3] is None else torch.cat([state[3], v], 2)
            x = x + own.out_proj(attend(q, state[2], state[3]))
            q = heads(F.linear(layer.norm2(x), other.in_proj_weight[:WIDTH], other.in_proj_bias[:WIDTH]))
            x = x + other.out_proj(attend(q, state[0], state[1]))
            x = x + layer.linear2(F.gelu(layer.linear1(layer.norm3(x))))
        return self.logits(x)[:, 0]
