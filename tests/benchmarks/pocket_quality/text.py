"""Bar 3: do words decide colours? The caption names another colour than the picture had, only soft edges steer.

The edges are those of the original scene, so they know nothing of the colour asked for, and neither does the noise.
Control arms: the caption without that colour word, and with yet another colour's word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.noise import keyed_normal
from models.pocket.scene_cast import PLACES
from models.pocket.scenes import open_scene
from models.pocket.sprites import COLOURS
from models.prompts import PromptEmbeds
from models.schedule import from_config
from tests.benchmarks.pocket_quality.bars import Bar, share, shown, table
from tests.benchmarks.pocket_quality.loop import controls_of, decode, encode, network
from tests.benchmarks.pocket_quality.naming import Lab, inner, mean_lab, name_colour
from tests.benchmarks.pocket_quality.record import Record
from tests.benchmarks.pocket_quality.subject import FIRST_SEED, HEIGHT, WIDTH, Subject
from tests.plain_ddim import denoise

SEEDS = FIRST_SEED + 1000
LEAST_PIXELS = 80  # of the object, its rim taken off
BATCH = 8
ARMS = ("named", "removed", "other")
MOVERS = frozenset(name for place in PLACES for name in (*place.moving, *place.flying))  # houses and trees are scenery


@dataclass(frozen=True)
class Case:
    """An object k of a scene to be painted `colour`; `other` is the word of the third arm. things: objects in all."""

    seed: int
    things: int
    objects: int
    k: int
    kind: str
    original: str
    colour: str
    other: str

    def caption(self, colour: str | None) -> str:
        """What the scene says of itself with the object in a colour, or with no word for it."""
        said = _scene(self.seed, self.objects, self.k, colour or self.colour).caption
        return said if colour else without_colour(said, self.colour, self.kind)

    def prompt(self, arm: str) -> str:
        """The words of an arm."""
        return self.caption({"named": self.colour, "removed": None, "other": self.other}[arm])


def _scene(seed: int, objects: int, k: int | None = None, colour: str = "") -> Any:
    return open_scene(seed, 1, HEIGHT, WIDTH, objects=objects, colours=None if k is None else {k: colour})


def without_colour(caption: str, colour: str, kind: str) -> str:
    """`an orange cat in a park` -> `a cat in a park`. Errors: ValueError if the caption does not say it once."""
    said = f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {kind}"
    if caption.count(said) != 1:
        raise ValueError(f"{caption!r} does not say {said!r} once")
    return caption.replace(said, f"a {kind}")


def draw_cases(count: int, seed: int = SEEDS) -> list[Case]:
    """Cases by turns of one object alone and of two: kinds as even as scenes allow, colours exactly even."""
    rng = np.random.default_rng(seed)
    kinds: Counter[tuple[int, str]] = Counter()
    turns: list[str] = []
    cases: list[Case] = []
    while len(cases) < count:
        things, seed = 1 + len(cases) % 2, seed + 1
        objects = int(rng.integers(1, things + 1))
        scene = _scene(seed, objects)
        # Two of a kind cannot be told apart by words; more things than asked for are scenery.
        fit = [k for k, name in enumerate(scene.names) if name in MOVERS and scene.names.count(name) == 1]
        if len(scene.names) != things or not fit:
            continue
        k = min(fit, key=lambda k: kinds[things, scene.names[k]])
        rare = min(kinds[things, name] for name in _seen(kinds, things)) if _seen(kinds, things) else 0
        if kinds[things, scene.names[k]] > rare + 2 or inner(scene.frame(0).masks_KHW[k]).sum() < LEAST_PIXELS:
            continue
        turns = turns or [str(c) for c in rng.permutation(list(COLOURS))]
        colour = turns.pop()
        other = str(rng.choice([c for c in COLOURS if c != colour]))
        kinds[things, scene.names[k]] += 1
        cases.append(Case(seed, things, objects, k, scene.names[k], scene.colours[k], colour, other))
    return cases


def _seen(kinds: Mapping[tuple[int, str], int], things: int) -> list[str]:
    return [name for number, name in kinds if number == things]


@dataclass(frozen=True)
class Sampling:
    """How pictures are painted."""

    steps: int
    guidance: float


@torch.inference_mode()
def paint(subject: Subject, cases: Sequence[Case], arm: str, sampling: Sampling) -> NDArray[np.uint8]:
    """Sample one picture per case from noise, steered by the original's soft edges and the words of the arm."""
    backbone, model = subject.backbone, subject.model
    originals = np.stack([_scene(c.seed, c.objects).frame(0).picture_HWC for c in cases])
    source = encode(backbone, originals)
    controls = controls_of(model, backbone.factor, originals, source)
    scales = [c.scale if c.kind.startswith("softedge") else 0.0 for c in model.controls]
    texts = [backbone.embed(c.prompt(arm), "") for c in cases]
    text = PromptEmbeds(torch.stack([t.cond for t in texts]), torch.stack([t.uncond for t in texts]))
    noise: Tensor = torch.stack([keyed_normal(tuple(source.shape[1:]), "text", c.seed) for c in cases])
    schedule = from_config(backbone.scheduler_config, sampling.steps)
    start = noise.to(backbone.device, backbone.dtype)
    return decode(backbone, denoise(start, network(backbone, text, controls, scales, sampling.guidance), schedule))


def known_colours(case: Case) -> tuple[NDArray[np.bool_], dict[str, Lab]]:
    """Where the object is, and its mean Lab in every colour as the scene itself paints it."""
    mask = inner(_scene(case.seed, case.objects).frame(0).masks_KHW[case.k])
    painted = {c: _scene(case.seed, case.objects, case.k, c).frame(0).picture_HWC for c in COLOURS}
    return mask, {name: mean_lab(picture, mask) for name, picture in painted.items()}


def measure(subject: Subject, record: Record, pictures: int, sampling: Sampling) -> dict[str, Any]:
    """Answers by case and arm; the control arms on the first half of the cases."""

    @cache
    def cases() -> list[Case]:
        return draw_cases(pictures)

    known = cache(known_colours)
    answers: list[dict[str, Any]] = []
    for arm in ARMS:
        for start in range(0, pictures if arm == "named" else (pictures + 1) // 2, BATCH):

            def make(arm: str = arm, start: int = start) -> dict[str, Any]:
                batch = cases()[start : start + BATCH]
                said = []
                for case, picture in zip(batch, paint(subject, batch, arm, sampling), strict=True):
                    mask, colours = known(case)
                    answer = name_colour(mean_lab(picture, mask), colours)
                    said.append({**vars(case), "arm": arm, "prompt": case.prompt(arm), "judged": answer})
                return {"answers": said}

            name = f"text/{sampling.guidance:g}x{sampling.steps}/{pictures}/{arm}/{start}"
            answers += record.piece(name, make)["answers"]
    return {**summed(answers), "guidance": sampling.guidance, "steps": sampling.steps}


def summed(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Shares of right answers: overall, by number of objects, kind and colour; of the control arms; and confusions."""

    def right(chosen: Sequence[Mapping[str, Any]], key: str = "colour") -> dict[str, Any]:
        return share(sum(a["judged"] == a[key] for a in chosen), len(chosen))

    arms = {arm: [a for a in answers if a["arm"] == arm] for arm in ARMS}
    named = arms["named"]
    by = {
        key: {value: right([a for a in named if a[key] == value]) for value in sorted({a[key] for a in named})}
        for key in ("things", "kind", "colour")
    }
    confusion = {c: dict(Counter(a["judged"] for a in named if a["colour"] == c)) for c in COLOURS}
    return {
        "chance": 1 / len(COLOURS),
        "named": right(named),
        "original": right(named, "original"),
        "removed": {"named": right(arms["removed"]), "original": right(arms["removed"], "original")},
        "other": {"named": right(arms["other"]), "other": right(arms["other"], "other")},
        "by": by,
        "confusion": confusion,
    }


def bars(found: Mapping[str, Any]) -> list[Bar]:
    """Bar 3."""
    return [Bar("3. the caption's colour is the object's colour, share of pictures", found["named"]["mean"], 0.85)]


def section(found: Mapping[str, Any]) -> str:
    """Accuracy against its control arms, and who is taken for whom."""
    arms = [
        ["colour named", "the named colour", found["named"]],
        ["colour named", "the original's colour, which the edges may betray", found["original"]],
        ["colour word removed", "the colour that was removed", found["removed"]["named"]],
        ["colour word removed", "the original's colour", found["removed"]["original"]],
        ["another colour's word", "the colour that was replaced", found["other"]["named"]],
        ["another colour's word", "that other colour", found["other"]["other"]],
    ]
    rows = [[arm, what, figure["count"], shown(figure)] for arm, what, figure in arms]
    parts = [
        [title, value, figure["count"], shown(figure)]
        for key, title in (("things", "objects in the scene"), ("kind", "kind"), ("colour", "colour"))
        for value, figure in found["by"][key].items()
    ]
    names = list(COLOURS)
    confusion = [[name, *(found["confusion"].get(name, {}).get(c, 0) for c in names)] for name in names]
    return f"""{table(["caption", "judged to be", "pictures", "share"], rows)}

Chance is {found["chance"]:.2f}. One object of an unseen scene, no house or tree, is to take on a random colour that the
caption says; of the picture the model sees only the soft edges, of the scene in its original colours. Start: noise;
{found["steps"]} steps, guidance {found["guidance"]:g}; the colour ControlNet is off. The mean Lab over the object
(2 px of rim taken off) is compared with that of the same object painted by the scene in each colour; the nearest wins.
Brackets: 95 % Wilson interval.

{table(["colour named, by", "", "pictures", "share"], parts)}

Named (rows) and judged (columns):

{table(["named", *names], confusion)}
"""
