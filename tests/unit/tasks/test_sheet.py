"""A contact sheet shows every picture whole, in order, each over its own name."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.sheet import MAX_SIDE, contact_sheet

NAMES = ("source", "sketch", "watercolor", "night", "autumn", "neon", "mosaic", "oil", "blueprint")
COLOURS = [(28 * n % 250, 255 - 25 * n, 90 + 15 * n) for n in range(len(NAMES))]
SIZES = [(144, 256), (256, 144), (256, 256), (104, 8), (8, 256), (8, 8), (97, 131)]


def opened(height: int, width: int) -> Any:
    pictures = [
        (name, np.full((height, width, 3), colour, np.uint8)) for name, colour in zip(NAMES, COLOURS, strict=True)
    ]
    return Image.open(io.BytesIO(contact_sheet(pictures, {"Comment": "AI-generated"})))


def places(sheet: np.ndarray[Any, Any], height: int, width: int) -> list[tuple[int, int]]:
    """(top, left) of each picture, found by its colour; exactly the picture's own pixels have it."""
    found = []
    for colour in COLOURS:
        rows, columns = np.nonzero((sheet == colour).all(axis=-1))
        assert len(rows) == height * width
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (height, width)
        found.append((int(rows.min()), int(columns.min())))
    return found


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_picture_is_there_untouched_in_reading_order(height: int, width: int) -> None:
    sheet = np.asarray(opened(height, width))
    found = places(sheet, height, width)
    assert found == sorted(found)
    top, left = found[0]
    assert min(top, left) >= 8, "a margin"


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_name_is_written_below_its_picture_and_nowhere_else(height: int, width: int) -> None:
    sheet = np.asarray(opened(height, width)).astype(int)
    paper = sheet[0, 0]
    ink = (np.abs(sheet - paper).sum(axis=-1) > 120) & (sheet.max(axis=-1) < 130)
    widths = []
    for top, left in places(sheet.astype(np.uint8), height, width):
        band = ink[top + height + 1 : top + height + 18]
        middle = left + width // 2
        reach = np.nonzero(band[:, max(0, middle - 25) : middle + 25].any(axis=0))[0]
        assert len(reach) > 6, "letters"
        widths.append(band.any(axis=0).sum())
    edge = np.concatenate([ink[:4].ravel(), ink[-4:].ravel(), ink[:, :3].ravel(), ink[:, -3:].ravel()])
    assert not edge.any(), "no letter is cut off"


def test_landscape_portrait_and_square_fill_a_page_of_one_shape() -> None:
    for height, width in [(144, 256), (256, 144), (256, 256)]:
        across, down = opened(height, width).size
        assert 0.75 <= across / down <= 2.2, (height, width)


def test_large_pictures_are_scaled_to_a_sheet_one_can_look_at() -> None:
    across, down = opened(1080, 1920).size
    assert max(across, down) < 4 * MAX_SIDE
    assert across > 2 * MAX_SIDE


def test_the_file_says_what_it_is() -> None:
    assert opened(8, 8).info["Comment"] == "AI-generated"
    assert opened(8, 8).format == "PNG"


def test_no_text_of_a_sheet_holds_a_secret() -> None:
    """The source of a preview may be a signed address."""
    signed = "https://user:planted-secret-9@host/clip.mp4?X-Amz-Signature=planted-secret-9"
    picture = np.zeros((64, 64, 3), np.uint8)
    sheet = contact_sheet([(signed, picture)], {"source": signed})
    texts = Image.open(io.BytesIO(sheet)).info
    assert texts["source"].startswith("https://***@host/clip.mp4")
    assert b"planted-secret" not in sheet
    same = contact_sheet([(texts["source"], picture)])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sheet))), np.asarray(Image.open(io.BytesIO(same))))
