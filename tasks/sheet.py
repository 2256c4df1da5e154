"""A contact sheet: pictures of one size side by side, each with its name below, as a PNG.

Takes arrays and words; knows no style, clip or store.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from configs.redact import redact

Named = tuple[str, npt.NDArray[np.uint8]]

MAX_SIDE = 512  # larger pictures are scaled down: a sheet is to be looked at whole
_PAPER, _INK = (250, 250, 248), (40, 40, 44)
_SHAPE = 1.5  # width over height that reads well on a screen and in a page


def contact_sheet(pictures: Sequence[Named], says: Mapping[str, str] | None = None) -> bytes:
    """Draw named pictures, uint8 RGB [H,W,3] of one size, in rows from the top left; returns a PNG file.

    The rows are as many as bring the sheet near 3:2; `says` are texts for the file's own metadata. No text of it holds
    a secret: a sheet is passed around.
    """
    pictures = [(redact(name), picture) for name, picture in pictures]
    shown = [_fitted(Image.fromarray(picture)) for _, picture in pictures]
    width, height = shown[0].size
    letters = max(13, round(max(width, height) / 16))
    font = ImageFont.load_default(letters)
    gap, strip = max(8, letters // 2), round(letters * 1.6)
    cell = max(width, *(math.ceil(font.getlength(name)) for name, _ in pictures))
    columns = _columns(len(pictures), cell + gap, height + strip + gap)
    rows = -(-len(pictures) // columns)
    size = gap + columns * (cell + gap), gap + rows * (height + strip + gap)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    for n, (name, picture) in enumerate(zip((name for name, _ in pictures), shown, strict=True)):
        left = gap + n % columns * (cell + gap)
        top = gap + n // columns * (height + strip + gap)
        sheet.paste(picture, (left + (cell - width) // 2, top))
        pen.text((left + cell / 2, top + height + strip / 2), name, _INK, font, anchor="mm")
    notes, file = PngInfo(), io.BytesIO()
    for key, text in (says or {}).items():
        notes.add_text(key, redact(text))
    sheet.save(file, "PNG", pnginfo=notes)
    return file.getvalue()


def read_sheet(path: Path) -> npt.NDArray[np.uint8]:
    """The picture of a sheet, RGB [H,W,3]."""
    with Image.open(path) as sheet:
        return np.asarray(sheet.convert("RGB"), np.uint8)


def _fitted(picture: Image.Image) -> Image.Image:
    scale = MAX_SIDE / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)


def _columns(count: int, width: int, height: int) -> int:
    """The number of columns that makes a sheet of cells `width` x `height` near `_SHAPE`, with few empty cells."""

    def badness(columns: int) -> float:
        rows = -(-count // columns)
        shape = abs(math.log(columns * width / (rows * height) / _SHAPE))
        return shape + (columns * rows - count) / count

    return min(range(1, count + 1), key=badness)
