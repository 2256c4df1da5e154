"""`file://` addresses: the paths of this machine that they name. Pure strings; looks at no disk."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit


def file_of(address: str) -> Path | None:
    """Return the path that a plain name or a `file://` address names, None for an address of anything else.

    Addresses are percent-encoded, as `Path.as_uri` writes them; plain names are taken as they are.
    """
    if address.startswith("file://"):
        return Path(unquote(urlsplit(address).path))
    return None if "://" in address else Path(address)
