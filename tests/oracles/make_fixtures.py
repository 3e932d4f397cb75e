#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the fixtures that oracle_test holds the engine against: small GPT-2 models computed by PyTorch in float64.

    tests/oracles/make_fixtures.py            writes the .safetensors files beside this script
    tests/oracles/make_fixtures.py --check    computes them again and compares with the files, within 1e-6

Needs any PyTorch from 1.12 on (Debian: python3-torch) and nothing else. A file holds, in the names and layouts of
Hugging Face's GPT-2 (linear weights are [in, out]):

    initial.<parameter>   float32; the computation starts from these rounded values
    gradient.<parameter>  of the mean loss over the global batch of step 0, before clipping
    final.<parameter>     after all optimizer steps
    inputs, targets       [steps, sequences, T] int64; another batch each step
    logits                [micro_batch_size, T, V] of the first sequences of step 0, under the initial parameters
    loss, grad_norm       [steps] float64; the norm is the one before clipping

and, as metadata, the model and the optimizer. Results are stored as float32: rounding them costs 6e-8.
"""

import argparse
import json
import math
import random
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

STEPS = 3
LEARNING_RATE = 1e-3
BETAS = (0.9, 0.95)
EPSILON = 1e-8
WEIGHT_DECAY = 0.1
CLIP_GRAD_NORM = 1.0
NORM_EPSILON = 1e-5

# The exact gradient of the keys' bias is zero; in float32 it is rounding noise, which AdamW divides by its own size plus
# EPSILON. The noise grows with the queries and with the gradient that reaches attention. With smaller queries (made up
# for by the keys) and a smaller projection after attention it stays so far below EPSILON that float32 moves the keys'
# bias by less than a hundredth of the learning rate.
QUERY_SCALE = 1.0 / 16.0
KEY_SCALE = 8.0
ATTENTION_OUTPUT_SCALE = 1.0 / 8.0

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Model:
    name: str
    num_layers: int
    num_heads: int
    hidden_size: int
    seq_len: int
    vocab_size: int
    bias: bool
    tie_embeddings: bool
    micro_batch_size: int
    num_micro_batches: int
    output_scale: float  # of the final norm's weights: small ones keep the gradient below the clipping norm


# Each has something that the others do not: tied or not, biases or not, T a power of two or not, an odd number of
# micro-batches, one single block, more tokens in the vocabulary than in a batch, a gradient that is not clipped.
MODELS = [
    Model("tied_bias", 2, 4, 24, 16, 50, True, True, 4, 4, 1.0),
    Model("untied_bias", 3, 2, 16, 12, 64, True, False, 4, 5, 1.0),
    Model("tied_no_bias", 3, 3, 24, 13, 37, False, True, 3, 4, 1.0),
    Model("untied_no_bias", 1, 2, 16, 17, 300, False, False, 2, 3, 0.2),
]


def parameter_shapes(model):
    """Every parameter in the engine's canonical order."""
    C = model.hidden_size
    shapes = {"transformer.wte.weight": (model.vocab_size, C), "transformer.wpe.weight": (model.seq_len, C)}

    def add(name, *shape):
        shapes[f"{name}.weight"] = shape
        if model.bias:
            shapes[f"{name}.bias"] = shape[-1:]

    for layer in range(model.num_layers):
        prefix = f"transformer.h.{layer}."
        add(prefix + "ln_1", C)
        add(prefix + "attn.c_attn", C, 3 * C)
        add(prefix + "attn.c_proj", C, C)
        add(prefix + "ln_2", C)
        add(prefix + "mlp.c_fc", C, 4 * C)
        add(prefix + "mlp.c_proj", 4 * C, C)
    add("transformer.ln_f", C)
    if not model.tie_embeddings:
        shapes["lm_head.weight"] = (model.vocab_size, C)
    return shapes


def initial_parameters(model):
    """No value is 0 or 1, so that a term left out or a gradient path cut shows in every tensor.

    Values come from random.random(), whose sequence Python promises for ever; PyTorch's generators differ by version.
    """
    parameters = {}
    for name, shape in parameter_shapes(model).items():
        generator = random.Random(f"{model.name}/{name}")

        def uniform(mean, deviation):
            reach = math.sqrt(3.0) * deviation
            values = [mean + reach * (2.0 * generator.random() - 1.0) for _ in range(math.prod(shape))]
            return torch.tensor(values, dtype=torch.float64).reshape(shape)

        if name == "transformer.ln_f.weight":
            value = model.output_scale * uniform(1.0, 0.2)
        elif name.endswith("ln_1.weight") or name.endswith("ln_2.weight"):
            value = uniform(1.0, 0.2)
        elif name.endswith(".bias"):
            value = uniform(0.0, 0.1)
        elif name.startswith("transformer.w") or name.startswith("lm_head"):
            value = uniform(0.0, 0.2)
        else:
            value = uniform(0.0, 0.6 / math.sqrt(shape[0]))
        if ".attn.c_attn." in name:
            queries, keys, values = value.chunk(3, dim=-1)
            value = torch.cat([queries * QUERY_SCALE, keys * KEY_SCALE, values], dim=-1)
        if name.endswith(".attn.c_proj.weight"):
            value = value * ATTENTION_OUTPUT_SCALE
        parameters[name] = value.float()
    return parameters


def make_batches(model):
    """Tokens of all steps; the targets are the inputs shifted by one."""
    generator = random.Random(f"{model.name}/tokens")
    sequences = model.micro_batch_size * model.num_micro_batches
    T = model.seq_len
    # The smaller of two draws: some tokens come often and some never, as in text.
    tokens = [
        int(min(generator.random(), generator.random()) * model.vocab_size)
        for _ in range(STEPS * sequences * (T + 1))
    ]
    tokens = torch.tensor(tokens, dtype=torch.int64).reshape(STEPS, sequences, T + 1)
    return tokens[:, :, :-1].contiguous(), tokens[:, :, 1:].contiguous()


def forward(model, parameters, tokens):
    """Logits [B, T, V] of tokens [B, T], in the plainest form there is."""
    B, T = tokens.shape
    C, NH = model.hidden_size, model.num_heads

    def norm(name, x):
        return F.layer_norm(x, (C,), parameters[f"{name}.weight"], parameters.get(f"{name}.bias"), NORM_EPSILON)

    def linear(name, x):
        y = x @ parameters[f"{name}.weight"]
        return y + parameters[f"{name}.bias"] if model.bias else y

    def attention(prefix, x):
        heads = [t.reshape(B, T, NH, C // NH).transpose(1, 2) for t in linear(prefix + "c_attn", x).split(C, dim=2)]
        q, k, v = heads
        scores = q @ k.transpose(2, 3) / math.sqrt(C // NH)
        future = torch.ones(T, T, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -math.inf).softmax(dim=3)
        return linear(prefix + "c_proj", (weights @ v).transpose(1, 2).reshape(B, T, C))

    x = parameters["transformer.wte.weight"][tokens] + parameters["transformer.wpe.weight"][:T]
    for layer in range(model.num_layers):
        prefix = f"transformer.h.{layer}."
        x = x + attention(prefix + "attn.", norm(prefix + "ln_1", x))
        up = linear(prefix + "mlp.c_fc", norm(prefix + "ln_2", x))
        x = x + linear(prefix + "mlp.c_proj", F.gelu(up, approximate="tanh"))
    x = norm("transformer.ln_f", x)
    head = "transformer.wte.weight" if model.tie_embeddings else "lm_head.weight"
    return x @ parameters[head].t()


def make_optimizer(parameters):
    """Decay acts on matrices and embeddings only."""
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters.values() if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in parameters.values() if p.dim() == 1], "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
        betas=BETAS,
        eps=EPSILON,
    )


def compute(model):
    """All tensors of a fixture by name."""
    initial = initial_parameters(model)
    inputs, targets = make_batches(model)
    tensors = {"inputs": inputs, "targets": targets}
    tensors.update({f"initial.{name}": value for name, value in initial.items()})

    parameters = {name: value.double().requires_grad_() for name, value in initial.items()}
    optimizer = make_optimizer(parameters)
    losses, norms = [], []
    for step in range(STEPS):
        logits = forward(model, parameters, inputs[step])
        loss = F.cross_entropy(logits.flatten(0, 1), targets[step].flatten())
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            tensors["logits"] = logits[: model.micro_batch_size].detach().float()
            for name, parameter in parameters.items():
                tensors[f"gradient.{name}"] = parameter.grad.float()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP_GRAD_NORM).item())
        optimizer.step()
    tensors.update({f"final.{name}": value.detach().float() for name, value in parameters.items()})
    tensors["loss"] = torch.tensor(losses, dtype=torch.float64)
    tensors["grad_norm"] = torch.tensor(norms, dtype=torch.float64)
    return tensors


def metadata(model):
    return {
        "format": "pt",
        "num_layers": str(model.num_layers),
        "num_heads": str(model.num_heads),
        "hidden_size": str(model.hidden_size),
        "seq_len": str(model.seq_len),
        "vocab_size": str(model.vocab_size),
        "bias": str(model.bias).lower(),
        "tie_embeddings": str(model.tie_embeddings).lower(),
        "micro_batch_size": str(model.micro_batch_size),
        "learning_rate": repr(LEARNING_RATE),
        "beta1": repr(BETAS[0]),
        "beta2": repr(BETAS[1]),
        "epsilon": repr(EPSILON),
        "weight_decay": repr(WEIGHT_DECAY),
        "clip_grad_norm": repr(CLIP_GRAD_NORM),
    }


# Of safetensors: its name of the dtype, and that of Python's struct module.
DTYPES = {torch.float32: ("F32", "f"), torch.float64: ("F64", "d"), torch.int64: ("I64", "q")}


def write_safetensors(path, tensors, extra):
    header, chunks, offset = {"__metadata__": extra}, [], 0
    for name, tensor in tensors.items():
        dtype, code = DTYPES[tensor.dtype]
        chunk = struct.pack(f"<{tensor.numel()}{code}", *tensor.flatten().tolist())
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [offset, offset + len(chunk)]}
        chunks.append(chunk)
        offset += len(chunk)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def read_safetensors(path):
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    extra = header.pop("__metadata__")
    by_name = {name: (dtype, code) for dtype, (name, code) in DTYPES.items()}
    tensors = {}
    for name, entry in header.items():
        dtype, code = by_name[entry["dtype"]]
        count = math.prod(entry["shape"])
        values = struct.unpack_from(f"<{count}{code}", raw, 8 + length + entry["data_offsets"][0])
        tensors[name] = torch.tensor(values, dtype=dtype).reshape(entry["shape"])
    return tensors, extra


def differences(model, path, tensors):
    """What a file has other than these tensors: one line each."""
    stored, extra = read_safetensors(path)
    if extra != metadata(model):
        yield f"{path.name}: other metadata"
    if list(stored) != list(tensors):
        yield f"{path.name}: other tensors"
        return
    for name, tensor in tensors.items():
        error = (stored[name].double() - tensor.double()).norm().item()
        if not error <= TOLERANCE * tensor.double().norm().item():
            yield f"{path.name}: {name} differs by {error:.3g} of {tensor.double().norm().item():.3g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    arguments = parser.parse_args()
    found = []
    all_norms = []
    for model in MODELS:
        path = Path(__file__).resolve().parent / f"{model.name}.safetensors"
        tensors = compute(model)
        all_norms.append(tensors["grad_norm"])
        if arguments.check:
            found += differences(model, path, tensors)
        else:
            write_safetensors(path, tensors, metadata(model))
        losses = ", ".join(f"{loss:.4f}" for loss in tensors["loss"].tolist())
        norms = ", ".join(f"{norm:.3f}" for norm in tensors["grad_norm"].tolist())
        print(f"{path.name}: {path.stat().st_size} bytes, loss {losses}, gradient norm {norms}")
    clipped = [bool((norms > CLIP_GRAD_NORM).all()) for norms in all_norms]
    if all(clipped) or not any(clipped):
        found.append("the fixtures should hold both gradients that are clipped and gradients that are not")
    for line in found:
        print(f"halfpipe: error: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
