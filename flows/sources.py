"""What the sources of a job name: files, folders, globs, URLs and `demo` become single videos.

Looks at names only (opening a video is the probe's business); a source that is not there is an entry with an
error, so that the others go on. `stamp_of` says whether a file is still the one that was seen before.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from configs.addresses import file_of
from configs.errors import UnreadableVideo

DEMO = "demo"
VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .m2ts .mts .ts .wmv .flv .ogv .3gp .mxf .y4m".split()
)
_MARKS = ("ETag", "etag", "version_id", "generation", "md5Hash", "content_md5", "checksum")


@dataclass(frozen=True)
class Source:
    """One video: where it is, its folder below a folder source, and why it cannot be read, if so."""

    uri: str
    relative: str = ""
    error: UnreadableVideo | None = None

    @property
    def name(self) -> str:
        """Last part of its address, without a query."""
        return (self.uri.split("?", 1)[0] if is_url(self.uri) else self.uri).rstrip("/").rsplit("/", 1)[-1]

    @property
    def below(self) -> str:
        """Its path below the source it was found in, '/'-joined."""
        return f"{self.relative}/{self.name}" if self.relative else self.name


@dataclass(frozen=True)
class Stamp:
    """What a file looks like from outside: bytes, and a mark that changes with its content ('' when there is none).

    `changed` is when it last changed, in seconds since 1970, where the mark is a time: one that changed just now may
    change again without its mark showing it.
    """

    bytes: int
    mark: str
    changed: float = 0.0


def stamp_of(uri: str) -> Stamp | None:
    """The stamp of a file or object; None when it cannot be had. Reads nothing of its content."""
    try:
        if (local := file_of(uri)) is not None:
            seen = os.stat(local)
            # ctime too: programs set the mtime as they like, never the ctime
            mark = f"{seen.st_dev}:{seen.st_ino}:{seen.st_mtime_ns}:{seen.st_ctime_ns}"
            return Stamp(seen.st_size, mark, max(seen.st_mtime, seen.st_ctime))
        import fsspec

        fs, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
        return _stamp_of_object(fs.info(path))
    except Exception:  # storage back ends have errors of their own: botocore's are neither OSError nor ValueError
        return None


def _stamp_of_object(info: Mapping[str, Any]) -> Stamp:
    found = next((f"{name}:{info[name]}" for name in _MARKS if info.get(name)), "")
    modified = info.get("LastModified") or info.get("last_modified")
    changed = modified.timestamp() if isinstance(modified, datetime) else 0.0
    return Stamp(int(info.get("size") or 0), found, changed)


def expand(sources: Iterable[str]) -> list[Source]:
    """Expand all sources in the order given, folders recursively and sorted; repeats are kept once. Raises nothing."""
    seen: dict[str, Source] = {}
    for text in sources:
        for source in _safely(text):
            seen.setdefault(source.uri, source)
    return list(seen.values())


def is_url(text: str) -> bool:
    """Whether the text is an address and not a path (one letter before the colon is a Windows drive)."""
    return "://" in text and len(text.split(":", 1)[0]) > 1


def _safely(text: str) -> list[Source]:
    """What `_expand_one` finds, every name in UTF-8; whatever it raises becomes an entry with an error."""
    try:
        return [_written(source) for source in _expand_one(text)]
    except Exception as error:  # no such user, a name too long, half an address, and what storage back ends raise
        bad = _written(_bad(text, f"cannot be looked up ({error or type(error).__name__})"))
        if bad.error is not None:
            bad.error.__cause__ = error  # says whether it may pass (`tasks.failure`)
        return [bad]


def _written(source: Source) -> Source:
    """The source itself, or an error where its name cannot be written into records and pages."""
    try:
        source.uri.encode()
    except UnicodeEncodeError:
        shown = source.uri.encode("utf-8", "backslashreplace").decode().replace("\\udc", "\\x")
        return _bad(shown, "its name is not UTF-8; rename it")
    return source


def _expand_one(text: str) -> Iterator[Source]:
    if text == DEMO:
        yield Source(DEMO)
    elif is_url(text):
        yield from _expand_url(text)
    else:
        yield from _expand_path(text)


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

    if (local := file_of(text)) is not None:
        yield from _expand_path(str(local))
        return
    if urlsplit(text).scheme in ("http", "https") and _names_a_video(text):
        yield Source(text)  # to ask whether it is a folder would fetch all of it, and `?` of a query is no pattern
        return
    fs, path = fsspec.core.url_to_fs(text, use_listings_cache=False)
    if glob.has_magic(path):
        found = [(name, "") for name in sorted(fs.glob(path))]
    elif fs.isdir(path):
        root = path.rstrip("/")
        found = [(name, name[len(root) + 1 :].rpartition("/")[0]) for name in sorted(fs.find(path))]
    else:
        yield Source(text)
        return
    videos = [(n, folder) for n, folder in found if Path(n).suffix.lower() in VIDEO_SUFFIXES]
    for name, folder in videos:
        yield Source(fs.unstrip_protocol(name), folder)
    if not videos:
        yield _bad(text, "no video file is there")


def _names_a_video(url: str) -> bool:
    split = urlsplit(url)
    return not glob.has_magic(split.path) and (bool(split.query) or Path(split.path).suffix.lower() in VIDEO_SUFFIXES)


def _bad(text: str, reason: str) -> Source:
    return Source(text, error=UnreadableVideo(f"{text}: {reason}"))
