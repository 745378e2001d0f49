#!/usr/bin/env python3
"""Tokens/s of the same fine-tuning job in PyTorch: what `memvp train` is measured against (docs/TRAINING.md).

A frozen decoder of SmolLM2-135M's shape (random weights: time does not depend on them), MemVP's memory of 81 slots in
every feed-forward layer, fc1/fc2/E1/E2 trained with AdamW, 64 sequences of 15 tokens a step, the loss on all but the prompt.
Features are given, as memvp's are cached. Needs PyTorch: `python3 Benchmarks/training_pytorch.py --precision bf16`.
"""
import argparse
import time

import torch
import torch.nn.functional as F

LAYERS, WIDTH, HIDDEN, HEADS, KV, HEAD, VOCABULARY = 30, 576, 1536, 9, 3, 64, 49152
SLOTS, FEATURES, PROJECTOR, BATCH, LENGTH, PROMPT = 81, 1280, 128, 64, 15, 3


def frozen(*shape, dtype):
    return (torch.randn(*shape) / shape[-1] ** 0.5).to(dtype)


def rms_norm(x):
    return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)


def rotate(x, cosines, sines):
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cosines - b * sines, a * sines + b * cosines), -1).flatten(-2)


class Job:
    def __init__(self, dtype):
        self.dtype = dtype
        self.embedding = frozen(VOCABULARY, WIDTH, dtype=dtype)
        self.layers = [
            (
                frozen((HEADS + 2 * KV) * HEAD, WIDTH, dtype=dtype),
                frozen(WIDTH, HEADS * HEAD, dtype=dtype),
                frozen(2 * HIDDEN, WIDTH, dtype=dtype),
                frozen(WIDTH, HIDDEN, dtype=dtype),
            )
            for _ in range(LAYERS)
        ]
        angles = torch.arange(LENGTH)[:, None] * 1e5 ** (-torch.arange(0, HEAD, 2) / HEAD)[None]
        self.cosines, self.sines = angles.cos().to(dtype), angles.sin().to(dtype)
        self.fc1 = torch.nn.Linear(FEATURES, PROJECTOR)
        self.fc2 = torch.nn.Linear(PROJECTOR, WIDTH)
        self.e1 = torch.nn.Parameter(0.02 * torch.randn(SLOTS, WIDTH))
        self.e2 = torch.nn.Parameter(torch.zeros(SLOTS, WIDTH))
        self.parameters = [*self.fc1.parameters(), *self.fc2.parameters(), self.e1, self.e2]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.02)
        self.features = torch.randn(BATCH, SLOTS, FEATURES)
        self.tokens = torch.randint(0, VOCABULARY, (BATCH, LENGTH + 1))

    def step(self):
        memory = 0.01 * self.fc2(F.silu(self.fc1(self.features)))
        keys, values = (memory + self.e1).to(self.dtype), (0.1 * (memory + self.e2)).to(self.dtype)
        x = self.embedding[self.tokens[:, :-1]]
        for qkv, out, gate_up, down in self.layers:
            q, k, v = F.linear(rms_norm(x), qkv).split((HEADS * HEAD, KV * HEAD, KV * HEAD), -1)
            q = rotate(q.view(BATCH, LENGTH, HEADS, HEAD).transpose(1, 2), self.cosines, self.sines)
            k = rotate(k.view(BATCH, LENGTH, KV, HEAD).transpose(1, 2), self.cosines, self.sines)
            v = v.view(BATCH, LENGTH, KV, HEAD).transpose(1, 2)
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            x = x + F.linear(attended.transpose(1, 2).reshape(BATCH, LENGTH, -1), out)
            n = rms_norm(x)
            gate, up = F.linear(n, gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down) + F.silu(n @ keys.transpose(1, 2)) @ values
        answers = rms_norm(x)[:, PROMPT - 1 :]
        logits = F.linear(answers, self.embedding).float()
        loss = F.cross_entropy(logits.flatten(0, 1), self.tokens[:, PROMPT:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", choices=("f32", "bf16"), default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    job = Job(torch.bfloat16 if options.precision == "bf16" else torch.float32)
    job.step()
    times = []
    for _ in range(options.steps):
        start = time.perf_counter()
        job.step()
        times.append(time.perf_counter() - start)
    median = sorted(times)[len(times) // 2]
    print(f"torch {torch.__version__}, {options.precision}, {options.threads} threads: "
          f"{BATCH * LENGTH / median:.0f} tokens/s, {median:.2f} s a step")


if __name__ == "__main__":
    main()
