#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains in PyTorch the GPT-2 that bench_cpu.sh and gpu_check.sh train with Halfpipe, and times every step.

A step: forward, backward, clipping, AdamW. --precision bf16 is PyTorch's autocast over float32 parameters; --compile
runs model and loss through torch.compile. Prints one line per step in the format of Halfpipe's metrics.jsonl.
"""

import argparse
import contextlib
import json
import math
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, C, NH, T):
        super().__init__()
        self.num_heads = NH
        self.qkv = nn.Linear(C, 3 * C)
        self.proj = nn.Linear(C, C)
        self.register_buffer("future", torch.ones(T, T, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.num_heads, -1).transpose(1, 2) for t in self.qkv(x).split(C, dim=2))
        if hasattr(F, "scaled_dot_product_attention"):  # PyTorch 2: its fused kernel
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(2, 3)) * (1.0 / math.sqrt(C // self.num_heads))
            y = scores.masked_fill(self.future[:T, :T], -math.inf).softmax(dim=3) @ v
        return self.proj(y.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    def __init__(self, C, NH, T):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.attention = Attention(C, NH, T)
        self.up, self.down = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, L, C, NH, T, V):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, C), nn.Embedding(T, C)
        self.blocks = nn.ModuleList(Block(C, NH, T) for _ in range(L))
        self.norm = nn.LayerNorm(C)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, inputs, targets):
        x = self.tokens(inputs) + self.positions.weight[: inputs.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)  # the head is tied
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def make_optimizer(model, learning_rate, device):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), eps=1e-8, fused=True if device == "cuda" else None)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("text", type=Path, help="bytes to train on")
    for name in ("layers", "hidden", "heads", "seq-len", "vocab-size", "batch", "steps", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--micro-batches", type=int, default=1, help="passes of --batch sequences per step")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def make_autocast(a):
    if a.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(a.device, dtype=torch.bfloat16)


def main():
    a = parse_arguments()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    text = torch.tensor(list(a.text.read_bytes()), dtype=torch.int64)
    model = Gpt2(a.layers, a.hidden, a.heads, a.seq_len, a.vocab_size).to(a.device)
    optimizer = make_optimizer(model, a.learning_rate, a.device)
    run = torch.compile(model) if a.compile else model
    for step in range(1, a.steps + 1):
        starts = torch.randint(len(text) - a.seq_len, (a.micro_batches * a.batch,))
        windows = torch.stack([text[start : start + a.seq_len + 1] for start in starts])
        if a.device == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss_sum = 0.0
        for part in windows.to(a.device).split(a.batch):
            with make_autocast(a):
                loss = run(part[:, :-1], part[:, 1:]) / a.micro_batches
            loss.backward()
            loss_sum += loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss, norm = loss_sum.item(), norm.item()  # waits for the device
        if a.device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
        record = {
            "event": "train",
            "step": step,
            "loss": loss,
            "grad_norm": norm,
            "tokens_per_second": a.micro_batches * a.batch * a.seq_len / seconds,
        }
        print(json.dumps(record, separators=(",", ":")), flush=True)


if __name__ == "__main__":
    main()
