#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mean loss of a checkpoint on a text as Hugging Face transformers computes it, in float32.

Usage: transformers_loss.py CHECKPOINT TEXT
Windows as `halfpipe evaluate` has them, for models of bytes: each token but the first is a target once.
"""
import sys

import torch
from transformers import AutoModelForCausalLM


def main(checkpoint: str, text: str) -> None:
    model, info = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[key]:
            sys.exit(f"{checkpoint}: {key}: {sorted(info[key])}")
    model.eval()
    with open(text, "rb") as file:
        tokens = torch.tensor(list(file.read()), dtype=torch.long)
    length = model.config.n_positions
    total = 0.0
    with torch.no_grad():
        for first in range(0, len(tokens) - 1, length):
            window = tokens[first : first + length + 1]
            logits = model(window[None, :-1]).logits[0].double()
            total += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
    print(f"{total / (len(tokens) - 1):.7f}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
