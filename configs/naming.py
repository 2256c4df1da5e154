"""Templates for the names of a library's results: `{relative}/{stem}--{style}--{key8}`, always below the output folder.

Pure strings: knows which fields there are and what a name may hold; looks at no disk.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from configs.errors import ConfigError
from configs.names import short_part, slug, stem_of

DEFAULT_NAMING = "{relative}/{stem}--{style}--{key8}"
FIELDS = {
    "stem": "name of the source without folder and suffix",
    "style": "the style, or a slug of the prompt",
    "key8": "first 8 digits of the result's key",
    "relative": "the source's folder below the folder it was found in",
    "date": "day the run began, UTC, 2026-11-21",
}
_UNIQUE = "key8"  # different results have different keys


def check_naming(template: str) -> str:
    """Return the template, or raise ValueError with what is wrong with it and which fields there are."""
    known = ", ".join("{" + name + "}" for name in FIELDS)
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"is not a template ({error}); write {{field}}, and {{{{ for a brace") from None
    for _, field, form, conversion in pieces:
        if field is not None and (field not in FIELDS or form or conversion):
            raise ValueError(f"knows no field {{{field}{':' + form if form else ''}}}; known: {known}")
    literal = "".join(text if field is None else f"{text}x" for text, field, _, _ in pieces)
    if template.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", literal):
        raise ValueError(f"must stay below the output folder, got {template!r}; begin with a field or a name")
    if any(part.strip() in ("", ".", "..") for part in re.split(r"[\\/]", literal)):
        raise ValueError(f"must stay below the output folder, got {template!r}; leave '..' and empty parts out")
    if not {"stem", _UNIQUE} & {field for _, field, _, _ in pieces}:
        raise ValueError(f"would give many videos one name, got {template!r}; put {{stem}} or {{key8}} in")
    return template


def result_name(
    template: str, source: str, relative: str, *, style: str | None, prompt: str | None, key: str, ext: str, date: str
) -> str:
    """Return the path of a source's result below the output folder, '/'-joined; never outside of it.

    Parts that would lead out ('..', a drive, a leading '/') are dropped, whether they come from the template, the
    source's name or its folder.
    """
    values = {
        "stem": stem_of(source),
        "style": slug(style or prompt or ""),
        "key8": key[:8],
        "relative": relative,
        "date": date,
    }
    filled = template.format_map(values)
    parts = [short_part(part) for part in re.split(r"[\\/]+", filled)]
    whole = PurePosixPath(*(part for part in parts if part))
    return f"{whole if str(whole) != '.' else 'video'}.{ext.lstrip('.')}"


def refuse_same_names(template: str, named: Iterable[tuple[str, str]]) -> None:
    """Raise ConfigError when two sources would get one name; `named` are (source, name with an empty key).

    Where the template holds {key8}, only equal results have equal names. Case does not tell names apart on every disk.
    """
    if "{key8}" in template:
        return
    seen: dict[str, str] = {}
    for source, name in named:
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            raise ConfigError(
                f"naming {template!r} gives {seen[folded]} and {source} the same name {name}; "
                f"put {{relative}} or {{key8}} in, or exclude one of them"
            )
        seen[folded] = source
