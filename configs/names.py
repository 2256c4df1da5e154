"""Names of output files: `<stem>--<style or prompt slug>--<key8>.<ext>`, and never outside the output folder.

Pure strings; creates nothing and looks at no disk.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

_SLUG_LENGTH = 40
_STEM_LENGTH = 80
_STEM_BYTES = 176  # with a slug, a key and a suffix still a name that every disk takes: 255 bytes
_PART_BYTES = 230


def slug(text: str) -> str:
    """Return lower-case words joined by '-', at most 40 characters, never empty ('untitled')."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(words) > _SLUG_LENGTH:
        words = words[:_SLUG_LENGTH].rsplit("-", 1)[0]
    return words or "untitled"


def output_name(source: str, *, style: str | None, prompt: str | None, key: str, ext: str) -> str:
    """Return the file name of a source's result; the style names it where there is one, else the prompt."""
    return f"{stem_of(source)}--{slug(style or prompt or '')}--{key[:8]}.{ext.lstrip('.')}"


def sheet_name(source: str) -> str:
    """Return the file name of a source's contact sheet of styles: `<stem>--styles.png`."""
    return f"{stem_of(source)}--styles.png"


def output_relative(source: str, relative: str, *, style: str | None, prompt: str | None, key: str, ext: str) -> str:
    """Return the result's path below the output folder, '/'-joined, inside the source's `relative` folder.

    Parts that would leave the folder ('..', a drive, a leading '/') are dropped.
    """
    name = output_name(source, style=style, prompt=prompt, key=key, ext=ext)
    parts = [short_part(part) for part in re.split(r"[\\/]+", relative)]
    return str(PurePosixPath(*(part for part in parts if part), name))


def stem_of(source: str) -> str:
    """Return a source's name without folder and suffix, made safe; at most 80 characters, never empty ('video')."""
    tail = re.split(r"[\\/]+", re.split(r"[?#]", source)[0] if "://" in source else source)[-1]
    stem = safe_part(tail.rsplit(".", 1)[0] if "." in tail[1:] else tail)[:_STEM_LENGTH]
    return _cut(stem, _STEM_BYTES) or "video"


def short_part(part: str) -> str:
    """Return `safe_part` of a path part, short enough to be a name with a suffix behind it: disks count bytes."""
    return _cut(safe_part(part), _PART_BYTES)


def _cut(part: str, most: int) -> str:
    return part if len(part.encode()) <= most else part.encode()[:most].decode(errors="ignore").rstrip(". ")


def safe_part(part: str) -> str:
    """Return one path part without separators, control characters or a leading dot or dash; '' for '.' and '..'."""
    printable = "".join("_" if unicodedata.category(c)[0] == "C" or c in '/\\:*?"<>|' else c for c in part)
    return printable.strip().lstrip(".-").rstrip(". ")
