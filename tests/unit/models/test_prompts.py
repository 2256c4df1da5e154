"""What of a prompt the text encoder is given: short ones as ever, of long ones the template whole."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import models
from configs.presets import PLAIN, filled, list_styles, template_of
from models.prompts import embed_prompt

WEIGHTS = Path(models.__file__).parent / "pocket" / "weights"
RARE = "a magnificent Mediterranean fishing village with whitewashed architecture"


class Ids:
    """A text encoder whose hidden states are the ids themselves."""

    config = SimpleNamespace()

    def __call__(self, ids: torch.Tensor, attention_mask: None) -> tuple[torch.Tensor]:
        return (ids,)


@pytest.fixture(params=[32, 77])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """Of as many tokens as pocket's, and as Stable Diffusion's."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(WEIGHTS / "tokenizer", model_max_length=request.param)


def ids(tokenizer: Any, prompt: str, template: str = PLAIN) -> tuple[list[int], tuple[str, ...]]:
    embeds = embed_prompt(tokenizer, Ids(), prompt, "", "cpu", template)
    return embeds.cond.tolist(), embeds.notes


def as_ever(tokenizer: Any, text: str) -> list[int]:
    most = tokenizer.model_max_length
    return list(tokenizer(text, padding="max_length", max_length=most, truncation=True).input_ids)


@pytest.mark.parametrize("style", [None, *list_styles()])
@pytest.mark.parametrize("prompt", ["", "a red car", "a red car on a road,"])
def test_a_prompt_that_fits_keeps_its_ids_and_needs_no_word(tokenizer: Any, style: str | None, prompt: str) -> None:
    template = template_of(style)
    assert ids(tokenizer, prompt, template) == (as_ever(tokenizer, filled(template, prompt)), ())


def test_lanes_that_share_a_tokenizer_leave_each_other_alone(tokenizer: Any, request: pytest.FixtureRequest) -> None:
    """It remembers how it was last asked to pad and cut: lanes that asked differently had two looks in one shot."""
    interval = sys.getswitchinterval()
    request.addfinalizer(lambda: sys.setswitchinterval(interval))
    sys.setswitchinterval(1e-6)
    prompts = ["a dog on a street", f"{RARE} {RARE}"] * 300
    alone = {prompt: ids(tokenizer, prompt, template_of("oil")) for prompt in set(prompts)}
    with ThreadPoolExecutor(4) as lanes:
        together = list(lanes.map(lambda prompt: ids(tokenizer, prompt, template_of("oil")), prompts))
    assert together == [alone[prompt] for prompt in prompts]


@pytest.mark.parametrize("template", [template_of(style) for style in list_styles()] + ["pixels: {prompt} in 8 bit"])
@pytest.mark.parametrize("prompt", [f"{RARE} {RARE} {RARE}", "x" * 4000, "渔村" * 60])
def test_of_a_long_prompt_the_template_stays_whole(tokenizer: Any, template: str, prompt: str) -> None:
    found, notes = ids(tokenizer, prompt, template)
    before, _, behind = template.partition(PLAIN)
    bare = [tokenizer(text, add_special_tokens=False).input_ids for text in (before, behind)]
    assert (found[0], found[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert found[1 : 1 + len(bare[0])] == bare[0]
    assert found[-1 - len(bare[1]) : -1] == bare[1]
    assert len(found) == tokenizer.model_max_length
    assert len(notes) == 1


def test_the_prompt_is_cut_where_the_template_needs_the_room(tokenizer: Any) -> None:
    """Words of one token: the sentence that would just have fitted, and the note says where it ends."""
    template = template_of("neon")
    room = tokenizer.model_max_length - 2 - len(tokenizer(", glowing neon lights", add_special_tokens=False).input_ids)
    fits = " ".join(["a red car"] * 99).split()[:room]
    found, (note,) = ids(tokenizer, " ".join([*fits, "on", "a", "road"]), template)
    assert found == ids(tokenizer, " ".join(fits), template)[0]
    assert f"{' '.join(fits[-5:])}': it is" in note
    assert f"reads {tokenizer.model_max_length}" in note


def test_without_a_template_the_end_is_cut_as_ever_but_said(tokenizer: Any) -> None:
    prompt = " ".join([RARE] * 3)
    found, notes = ids(tokenizer, prompt)
    assert found == as_ever(tokenizer, prompt)
    assert len(notes) == 1
