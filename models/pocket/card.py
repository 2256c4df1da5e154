"""The model card of the exported weights: what they are, what they learned from, what they cannot do.

Knows words and figures handed in; refuses to measure anything itself.
"""

# ruff: noqa: E501 (rows of Markdown tables cannot be broken)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = """# pocket v2

A small text-to-image diffusion model with four ControlNets, made to restyle video frames on a CPU, so that every
effect of Steadyframe can be seen and measured without a download. Trained from nothing by the scripts in
`models/pocket/`; no weights of others are contained.

| part | class | what |
|---|---|---|
| vae | `models.pocket.autoencoder.BlockAutoencoder` | lapped transform, 40 channels, factor 8, deterministic |
| text_encoder, tokenizer | `CLIPTextModel`, `CLIPTokenizer` | 64 wide, 2 layers, 32 tokens, about 640 whole words |
| unet | `UNet2DConditionModel` | 8.7 M parameters, predicts clean latents (`sample`) |
| controlnet_tile | `ControlNetModel`, no attention | 2.3 M, control kind `tile-latents`: the source's scaled latents, colours and all |
| controlnet_softedge | `ControlNetModel`, no attention | 2.3 M, control kind `softedge-blocks`: 64 soft-edge pixels a latent |
| controlnet_depth | `ControlNetModel`, no attention | 2.3 M, control kind `depth-blocks`: 64 depth pixels a latent, 0 far to 1 near |
| controlnet_reference | `ControlNetModel`, no attention, pooled over the picture | 2.3 M, control kind `reference-latents`: the look of a picture |
| scheduler | `DDIMScheduler` | scaled_linear 0.00085-0.012, trailing |

Each ControlNet works alone or beside others (the reference beside one that says what is where). Text to image with the
first two controls is 28.5 MB; the depth and reference networks, 4.5 MB each, are read only by jobs that name them. Known styles: sketch, watercolor, night, autumn, neon, mosaic, oil,
blueprint (templates in `models/pocket/styles.py`). Trained crops: 128 to 256 px. Meant for a long side of 256 px.
"""

_DATA = """
## What it was trained on

Pairs (picture, picture through a fixed filter of `models/pocket/styles.py`) with a caption. Half of the pictures
are procedural scenes (`models/pocket/scenes.py`). The other half are crops of the following; all were MODIFIED:
cropped, scaled, mirrored, changed in exposure, contrast, saturation, colour balance and hue, and filtered. No
frame is stored in the repository.

| source | licence and attribution |
|---|---|
| bottle-detection.mp4, car-detection.mp4, asl_gestures/no.mkv, asl_gestures/book.mkv | CC BY 4.0, Intel Corporation, github.com/intel-iot-devkit/sample-videos |
| china.jpg (in scikit-learn) | CC BY 2.0, danielbuechele, flickr.com/photos/danielbuechele/6061409035 |
| flower.jpg (in scikit-learn) | CC BY 2.0, vultilion, flickr.com/photos/vultilion/6056698931 |
| astronaut (in scikit-image) | public domain, NASA |
| rocket (in scikit-image) | CC0, SpaceX |
| chelsea, coffee, camera (in scikit-image) | CC0, Stefan van der Walt; Rachel Michetti and Pikolo Espresso Bar; Lav Varshney |
| brick, grass, gravel (in scikit-image) | CC0, texturehaven.com / ambientcg (CC0Textures) |
| motorcycle (in scikit-image) | CC0, Middlebury stereo 2014, D. Scharstein et al. |

`dog_audio.mp4` and `juggle_portrait.mp4` were never trained on; the figures below are theirs.
"""

_LIMITS = """
## Limits

It knows its eight styles, plain photographs and the colours of objects it can name. Other words do little beside the
tile control: content comes from the controls, style from the style words or the reference. Without a control it paints only vague colours. Words it does not know are spelt out in pieces
and mostly ignored. It has seen few real pictures and is no source of truth about anybody or anything.
"""


def model_card(
    step: int,
    seconds: float,
    size: int,
    figures: Sequence[Mapping[str, Any]],
    alone: Mapping[str, tuple[int, float]],
    autoencoder: tuple[int, float] | None,
) -> str:
    """Return the card as Markdown.

    step, seconds: of the checkpoint. size: bytes of the folder. figures: what `models.pocket.sample` printed,
    PSNR in dB of each style against the filter's own output. alone: steering -> (steps, seconds) for which its own
    ControlNet was trained after everything else, which stayed as it was. autoencoder: its (steps, seconds), None where
    its training state is not there to be asked.
    """
    if autoencoder is None:
        cost = (
            "Autoencoder: batches of 12 crops of 96 px, on a CPU of two cores; how many steps and minutes it took is not\n"
            "known any more, for its training state was not kept (today's command takes 3000 steps)."
        )
    else:
        cost = f"Autoencoder: {autoencoder[0]} steps of 12 crops of 96 px in {autoencoder[1] / 60:.0f} minutes on a CPU of two cores."
    later = "".join(
        f"The `{steering}` ControlNet was then trained alone for {steps} steps ({spent / 60:.0f} minutes), everything else\n"
        f"frozen: `train_diffusion --alone {steering} --start-from WEIGHTS`, `export --alone {steering}=RUN`.\n"
        for steering, (steps, spent) in alone.items()
    )
    made = f"""
## Training

{cost}

Diffusion networks: {step} steps of 16 crops (8 where whole pictures) in {seconds / 60:.0f} minutes (wall clock, other work beside
it) on a CPU of two cores, in bfloat16 with float32 masters, AdamW, averaged weights (0.999) stored in half precision;
{size / 1e6:.1f} MB in all. They began with the weights of pocket v1, another 1350 steps (35 minutes).
The shares of `STEERINGS` in `batches.py` are those of the end. Before step 4250 batches steered by soft edges alone were
a third of all and the other shares accordingly larger; `restore` came in at step 1500; named objects weighed 5 times as much
as the rest where only words know their colours, 13 times from step 4250 on, and their hue still more from step 5500 on; draws
with little noise came in at step 9300 (more of them up to step 10750 than now). The learning rate was raised again at
step 9300. The first weights answer with the tile itself. Why clean latents and not v: ADR 0003; why that start, a lapped
transform and two controls: ADR 0005. Commands (all resumable with `--resume`, a GPU is taken if there is one; pairs writes
what is missing):

    python -m models.pocket.train_autoencoder --out RUN/vae --clips CLIPS --channels 40
    python -m models.pocket.pairs --out RUN/pool --vae RUN/vae --clips CLIPS --shards 48 --count 100
    python -m models.pocket.train_diffusion --out RUN/v1 --pool RUN/pool --bfloat16 --stop-at 1350
    python -m models.pocket.export --run RUN/v1 --vae RUN/vae --out RUN/v1-weights
    python -m models.pocket.train_diffusion --out RUN/v2 --pool RUN/pool --start-from RUN/v1-weights --bfloat16 --lr 7e-4 --steps {step}
    python -m models.pocket.export --run RUN/v2 --vae RUN/vae --out models/pocket/weights

They lead to weights of this kind, not to these: the shares, the weights of objects and the learning rate changed on the
way as told above, v1 was trained by the code of its time (git 72f643e), and the number of threads may change over a
resumed run. From one state on, seeds and threads decide every bit.

To go on from the shipped weights: `train_diffusion --start-from models/pocket/weights` (its pool may be drawn with the
shipped `vae`, whose encoder never moved).
{later}"""
    return _HEAD + _DATA + made + _table(figures) + _LIMITS


def _table(figures: Sequence[Mapping[str, Any]]) -> str:
    if not figures:
        return ""
    names = list(figures[0]["psnr_db"])
    lines = [
        "\n## Figures\n",
        "PSNR in dB against the filter's own output on unseen real frames (column `vae`: encoding and decoding",
        "alone), printed by `python -m models.pocket.sample --clip CLIP --frames 0 30 60`:\n",
        "| clip | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for row in figures:
        lines.append(f"| {row['clip']} | " + " | ".join(f"{row['psnr_db'][n]:.1f}" for n in names) + " |")
    return "\n".join(lines) + "\n"
