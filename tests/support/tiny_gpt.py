"""A language model of one layer, and a few items for it; made without a network."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel


def model():
    """Random weights."""
    sizes = {"n_layer": 1, "n_head": 1, "n_embd": 16, "vocab_size": 32, "n_positions": 8}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


def data():
    """Twelve items of eight tokens."""
    items = torch.randint(0, 32, (12, 8), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": item, "labels": item} for item in items]
