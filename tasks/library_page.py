"""The page of a library: one self-contained HTML file that lists every video, how it went, and what wants a look.

`render_library` is a pure function of its rows: it reads no store, no video and no folder, and the page loads nothing.
Made for a few thousand rows: the page draws those in view, and more as one scrolls.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict

from configs.kept import Kept
from tasks.figures import FIGURES, figures_of
from tasks.pages import data_uri, page

RowStatus = Literal["done", "reused", "dead", "waiting"]
SHOWN = (
    ("pixel_mse",),
    ("flicker_over_steady", "flicker_over_source"),
    ("excess_flicker", "excess_over_style"),
    ("fidelity_psnr",),
    ("sharpness_ratio", "sharpness_to_source"),
    ("seam_ratio",),
    ("style_accuracy",),
)
"""The columns: of each group the first figure that any video has. A page sorts by all others too."""

_BROKEN = re.compile(r"\(gate\.(?:min|max)_(\w+)\)$")


class LibraryRow(BaseModel):
    """One video of a library.

    `name`: what people know it by (the path below the library's source). `status`: `done` computed something, `reused`
    found all of it, `dead` failed for good, `waiting` was not reached. `review_reasons` and `metrics` are those of
    `VideoOutput`. `seconds`: spent on it by this run. `output`, `report`: paths or URLs, '' for none. `thumbnail`: a
    small JPEG or PNG, b'' for none; 3000 of 4 kB make a page of 16 MB. A dead one has `error_class` (the exception's),
    `message`, `failure` (`tasks.failure.FailureClass`) and `replay`, the command line that tries it again.
    """

    model_config = ConfigDict(frozen=True)

    name: Kept
    status: RowStatus
    source: Kept = ""
    output: Kept = ""
    report: Kept = ""
    metrics: dict[str, Any] = {}
    review_reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    frames: int = 0
    thumbnail: bytes = b""
    error_class: str = ""
    message: Kept = ""
    failure: str = ""
    replay: Kept = ""


def render_library(rows: Sequence[LibraryRow], title: str, folder: str = "") -> str:
    """Return the HTML page.

    `folder`: where the page will lie. Files below it are linked relative to it, so that the folder can be moved or
    served; files elsewhere by their absolute path. What is neither a file nor http(s) is shown and not linked.
    """
    figures = [figures_of(row.metrics) for row in rows]
    measured = [name for name in FIGURES if any(name in found for found in figures)]
    shown = [next((n for n in group if n in measured), "") for group in SHOWN]
    dead = [row for row in rows if row.status == "dead"]
    return page(
        "library_page.html.j2",
        title=title,
        rows=rows,
        seconds=sum(row.seconds for row in rows),
        frames=sum(row.frames for row in rows),
        counts=_counts(rows),
        causes=Counter(row.error_class or "unknown" for row in dead).most_common(),
        replays=list(dict.fromkeys(row.replay for row in dead if row.replay)),
        links=[_link(row.report, folder) or _link(row.output, folder) for row in rows],
        script_data={
            "figures": {
                name: {"label": f.label, "about": f.about, "digits": f.digits, "unit": f.unit, "worse": f.worse}
                for name, f in FIGURES.items()
                if name in measured
            },
            "shown": [name for name in shown if name],
            "rows": [_row(row, found, folder) for row, found in zip(rows, figures, strict=True)],
        },
    )


def _counts(rows: Sequence[LibraryRow]) -> dict[str, int]:
    """How many videos each filter of the page shows; the keys are known to its script."""
    status = Counter(row.status for row in rows)
    return {
        "all": len(rows),
        "review": sum(bool(row.review_reasons) for row in rows),
        "dead": status["dead"],
        "done": status["done"] + status["reused"],
        "reused": status["reused"],
        "waiting": status["waiting"],
    }


def _row(row: LibraryRow, figures: dict[str, float], folder: str) -> dict[str, Any]:
    """A row as the script of the page reads it; what is empty is left out."""
    beyond = [found[1] for reason in row.review_reasons if (found := _BROKEN.search(reason))]
    told = {
        "name": row.name,
        "status": row.status,
        "source": row.source,
        "output": row.output,
        "toOutput": _link(row.output, folder),
        "toReport": _link(row.report, folder),
        "figures": {name: round(value, 6) for name, value in figures.items()},
        "beyond": beyond,
        "reasons": row.review_reasons,
        "seconds": round(row.seconds, 3),
        "frames": row.frames,
        "picture": data_uri(row.thumbnail, "image/png" if row.thumbnail[:4] == b"\x89PNG" else "image/jpeg"),
        "class": row.error_class,
        "message": row.message,
        "failure": row.failure,
        "replay": row.replay,
    }
    return {key: value for key, value in told.items() if value or key in ("name", "status", "seconds")}


def _link(uri: str, folder: str) -> str:
    """Where a click goes: http(s) and file URLs, paths relative to the page or absolute; '' for what opens nothing."""
    if "://" in uri:
        if folder and uri.startswith(folder + "/"):  # page and video lie side by side in a bucket
            return "./" + quote(uri.removeprefix(folder + "/"))
        return uri if urlsplit(uri).scheme in ("http", "https", "file") else ""
    path = PurePath(uri)
    if not uri or not path.is_absolute():
        return uri and "./" + quote(path.as_posix())  # ./ for a name like `javascript:x` is a name
    if folder and path.is_relative_to(folder):
        return "./" + quote(path.relative_to(folder).as_posix())
    return "file://" + quote(path.as_posix())
