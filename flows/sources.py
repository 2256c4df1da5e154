"""What the sources of a job name: files, folders, globs, URLs and `demo` become single videos.

Looks at names only (opening a video is the probe's business); a source that is not there is an entry with an
error, so that the others go on.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from configs.errors import UnreadableVideo

DEMO = "demo"
VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .m2ts .mts .ts .wmv .flv .ogv .3gp .mxf .y4m".split()
)


@dataclass(frozen=True)
class Source:
    """One video: where it is, its folder below a folder source, and why it cannot be read, if so."""

    uri: str
    relative: str = ""
    error: UnreadableVideo | None = None


def expand(sources: Iterable[str]) -> list[Source]:
    """Expand all sources in the order given, folders recursively and sorted; repeats are kept once."""
    seen: dict[str, Source] = {}
    for text in sources:
        for source in _expand_one(text):
            seen.setdefault(source.uri, source)
    return list(seen.values())


def _expand_one(text: str) -> Iterator[Source]:
    if text == DEMO:
        yield Source(DEMO)
    elif _is_url(text):
        yield from _expand_url(text)
    else:
        yield from _expand_path(text)


def _is_url(text: str) -> bool:
    # one letter before the colon is a Windows drive
    return "://" in text and len(text.split(":", 1)[0]) > 1


def _expand_path(text: str) -> Iterator[Source]:
    path = Path(text).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
        for file in found:
            folder = file.parent.relative_to(path).as_posix()
            yield Source(str(file), "" if folder == "." else folder)
        if not found:
            yield _bad(text, "the folder holds no video file")
    elif path.exists():
        yield Source(str(path))
    elif glob.has_magic(text):
        matches = sorted(glob.glob(str(path), recursive=True))
        videos = [m for m in matches if Path(m).is_file() and Path(m).suffix.lower() in VIDEO_SUFFIXES]
        yield from (Source(match) for match in videos)
        if not videos:
            yield _bad(text, "the pattern matches no video file")
    else:
        yield _bad(text, "there is no such file or folder; check the path")


def _expand_url(text: str) -> Iterator[Source]:
    import fsspec

    if urlsplit(text).scheme == "file":
        yield from _expand_path(urlsplit(text).path)
        return
    try:
        fs, path = fsspec.core.url_to_fs(text)
    except (ImportError, ValueError, OSError) as error:
        yield _bad(text, f"the address cannot be used ({error})")
        return
    try:
        if glob.has_magic(path):
            found = [(name, "") for name in sorted(fs.glob(path))]
        elif fs.isdir(path):
            root = path.rstrip("/")
            found = [(name, name[len(root) + 1 :].rpartition("/")[0]) for name in sorted(fs.find(path))]
        else:
            yield Source(text)
            return
    except (OSError, ValueError) as error:
        yield _bad(text, f"it cannot be listed ({error})")
        return
    videos = [(n, folder) for n, folder in found if Path(n).suffix.lower() in VIDEO_SUFFIXES]
    for name, folder in videos:
        yield Source(fs.unstrip_protocol(name), folder)
    if not videos:
        yield _bad(text, "no video file is there")


def _bad(text: str, reason: str) -> Source:
    return Source(text, error=UnreadableVideo(f"{text}: {reason}"))
