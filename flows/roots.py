"""Where runs that others start may read and write: below the roots that the operator names in STEADYFRAME_ROOTS.

A path is judged by where it leads (`..`, links and `~` followed), a URL by its parts; what cannot be judged is
outside. Looks at folders, opens nothing. Whoever may change links below a root while a run goes on is trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from configs.errors import ConfigError, UnreadableVideo
from flows.sources import DEMO, Source, expand

_MAGIC = "*?["


def expand_within(texts: Iterable[str], roots: Sequence[str]) -> list[Source]:
    """`expand`, with an error instead of every source that lies outside `roots`; nothing outside is listed.

    No roots: no limit. What a folder or pattern below a root leads to by a link is judged again, one by one.
    """
    kept: dict[str, Source] = {}
    for text in texts:
        found = expand((text,)) if text == DEMO or inside(text, roots) else [_outside(text, roots)]
        for source in found:
            judged = source if source.uri == DEMO or inside(source.uri, roots) else _outside(source.uri, roots)
            kept.setdefault(judged.uri, judged)
    return list(kept.values())


def check_within(key: str, text: str, roots: Sequence[str]) -> None:
    """Errors: ConfigError that names the job key when `text` lies outside `roots`."""
    if not inside(text, roots):
        raise ConfigError(f"{key}: {_sentence(text, roots)}")


def inside(text: str, roots: Sequence[str]) -> bool:
    """Whether the path or URL, or all that a pattern can match, lies below one of `roots` (or there are none)."""
    try:
        return not roots or any(_below(text, root) for root in roots)
    except (OSError, RuntimeError, ValueError):  # a name too long, no such user's home, half an address
        return False


def _below(text: str, root: str) -> bool:
    mine, its = _parts(text), _parts(root)
    if mine is None or its is None or mine[0] != its[0]:
        return False
    if mine[0] != "file":
        return (mine[1] + "/").startswith(its[1].rstrip("/") + "/")
    where = _fixed_part(mine[1])
    return where is not None and where.resolve().is_relative_to(Path(its[1]).expanduser().resolve())


def _parts(text: str) -> tuple[str, str] | None:
    """(protocol, rest), as `expand` understands the text; `file` for paths. None for what may mean several things."""
    scheme, there, rest = text.partition("://")
    if not text or "\0" in text or "::" in text:  # fsspec chains addresses by `::`
        return None
    if not there:
        return ("file", text)  # `C:\\x` and `file:x` as well: names below the working folder, for that is how they open
    if scheme == "file":
        path = urlsplit(
            text
        ).path  # percent-encoded it is one path to who reads a source, another to who writes a result
        return (
            ("file", path) if rest.startswith("/") and ".." not in path.split("/") and _decoded(path) == path else None
        )
    if scheme.startswith("http"):
        rest = rest.split("?", 1)[0].split("#", 1)[0]
    parts = [part for part in _decoded(rest.rpartition("@")[2]).replace("\\", "/").split("/") if part]
    return (scheme, "/".join(parts)) if parts and not {".", ".."} & set(parts) else None


def _decoded(text: str) -> str:
    while (plain := unquote(text)) != text:
        text = plain
    return text


def _fixed_part(path: str) -> Path | None:
    """The path itself, or the folder that everything a pattern matches lies below.

    None when `..` follows the first pattern: it may lead anywhere.
    """
    literal = Path(path).expanduser()
    if literal.exists():  # then it is no pattern, whatever its characters
        return literal
    parts = literal.parts
    number = next((i for i, part in enumerate(parts) if any(c in part for c in _MAGIC)), len(parts))
    return None if ".." in parts[number:] else Path(*parts[:number])


def _outside(text: str, roots: Sequence[str]) -> Source:
    return Source(text, error=UnreadableVideo(_sentence(text, roots)))


def _sentence(text: str, roots: Sequence[str]) -> str:
    return (
        f"{text} lies outside of {', '.join(roots)}, where runs of this server may read and write; "
        "move it there, or have the folder added to STEADYFRAME_ROOTS"
    )
