"""Checkpoints with damage that follows from a number; apart, as they need torch."""

from __future__ import annotations

import json
import random

import safetensors.torch
import torch
from torch import Tensor

from gfnet_dynn.model.weights import state_digest
from tests.fuzz.mutations import edit_json, flip_bits, insert_bytes, truncate, with_header


def signed(tensors: dict[str, Tensor], described: str) -> bytes:
    """A checkpoint whose digest is right, whatever it holds."""
    metadata = {"json": described, "sha256": state_digest(tensors, described)}
    content: bytes = safetensors.torch.save(tensors, metadata)
    return content


def _described(whole: bytes) -> str:
    length = int.from_bytes(whole[:8], "little")
    text: str = json.loads(whole[8 : 8 + length])["__metadata__"]["json"]
    return text


def _edit_description(rng: random.Random, whole: bytes) -> bytes:
    return signed(safetensors.torch.load(whole), edit_json(rng, json.loads(_described(whole))))


def _edit_tensors(rng: random.Random, whole: bytes) -> bytes:
    tensors = safetensors.torch.load(whole)
    name = rng.choice(sorted(tensors))
    tensor = tensors.pop(name)
    changed = (
        *(tensor * torch.nan, tensor.double(), tensor.to(torch.bfloat16), tensor.to(torch.bool), tensor.flatten()),
        *(torch.zeros(0), torch.zeros(()), tensor[:1].clone(), torch.complex(tensor, tensor), tensor[None].clone()),
    )
    tensors[rng.choice((name, name, name + ".more", ""))] = rng.choice(changed)
    return signed(tensors, _described(whole))


def _edit_header(rng: random.Random, whole: bytes) -> bytes:
    return with_header(whole, lambda header: edit_json(rng, header))


def _edit_length(rng: random.Random, whole: bytes) -> bytes:
    return rng.choice((0, 1, 2, 100, len(whole), 2**31, 2**40, 2**63, 2**64 - 1)).to_bytes(8, "little") + whole[8:]


_MUTATIONS = (
    *(flip_bits, truncate, insert_bytes, _edit_header, _edit_header),
    *(_edit_description, _edit_description, _edit_description, _edit_tensors, _edit_length),
)


def mutated_checkpoint(whole: bytes, number: int) -> bytes:
    return _MUTATIONS[number % len(_MUTATIONS)](random.Random(number), whole)
