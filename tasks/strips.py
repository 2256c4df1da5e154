"""Finished frames in the store: strips of a few frames, one PNG each, so that a killed run goes on where it was.

Lossless, half the bytes of raw frames, and anybody's viewer opens one. A strip counts as soon as it is whole: its
name holds the digest of its bytes, and its folder that of the question they answer. Knows no stage.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from configs.errors import StoreError
from tasks.ref import Ref
from tasks.store import Store
from tasks.store.blobs import TornArtifact, digest
from tasks.store.keys import StageKey
from tasks.store.manifest import Part

Picture = npt.NDArray[np.uint8]

MOST_FRAMES = 8
_MOST_BYTES = 32 << 20
_NAME = re.compile(r"part-([0-9a-f]{16})-(strip-\d{6}\.png)$")


def strip_length(height: int, width: int) -> int:
    """Frames of this size that make a strip: 8, fewer where they are large."""
    return max(1, min(MOST_FRAMES, _MOST_BYTES // (3 * height * width)))


def strip_name(number: int) -> str:
    """Name of a strip inside its artifact."""
    return f"strip-{number:06d}.png"


def write_strip(store: Store, key: StageKey, number: int, frames: Sequence[Picture]) -> Part:
    """Store frames uint8 RGB [H,W,3], all of one size, as strip `number` of an artifact."""
    rows = np.concatenate(frames)
    done, data = cv2.imencode(".png", rows[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise StoreError(f"{len(frames)} frames of {rows.shape[1]} pixels width cannot be written as PNG")
    part = store.write_part(key, strip_name(number), data.tobytes(), _meta(rows))
    # so that whoever goes on from here need not unpack it; without the note it is unpacked
    store.write_record(_note(key, part.name), {"sha256": part.sha256, "meta": part.meta})
    return part


def strips_left(store: Store, key: StageKey) -> dict[str, Part]:
    """Whole strips that a stopped run wrote under `key`, by name; torn ones are not among them."""
    found: dict[str, Part] = {}
    for path in sorted(store.blobs.children(store.folder(key))[0]):
        named = _NAME.search(path)
        if named is None or named[2] in found:
            continue
        try:
            data = store.blobs.get(path)
            if not (sha := digest(data)).startswith(named[1]):
                continue
            told = store.read_record(_note(key, named[2]))
            if isinstance(told, dict) and told.get("sha256") == sha:
                meta = told["meta"]
            else:
                meta = _meta(_rows(data, path))
        except (TornArtifact, StoreError):
            continue
        found[named[2]] = Part(name=named[2], path=path, bytes=len(data), sha256=sha, meta=meta)
    return found


def forget_notes(store: Store, key: StageKey) -> None:
    """What helps a stopped run to go on is not needed once all strips are published."""
    store.blobs.delete_tree(f"steps/{key.key}")


def strip_frames(store: Store, shots: Sequence[Ref], height: int) -> Iterator[Picture]:
    """Frames [height,W,3] of all shots in order, from their artifacts; one strip held at a time."""
    for ref in shots:
        manifest = store.resolve(ref)
        for part in sorted(manifest.parts, key=lambda p: p.name):
            rows = _rows(store.read_part(manifest, part.name), part.path)
            yield from rows.reshape(-1, height, *rows.shape[1:])


def _rows(data: bytes, path: str) -> Picture:
    """The frames of a strip below each other, [F*H,W,3]; TornArtifact when it is no picture."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise TornArtifact(f"{path} is no picture")
    rows: Picture = np.ascontiguousarray(picture[..., ::-1])
    return rows


def _note(key: StageKey, name: str) -> str:
    return f"steps/{key.key}/{name}.json"


def _meta(rows: Picture) -> dict[str, object]:
    return {"digests": {"frames": hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest()}}
