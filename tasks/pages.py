"""What the HTML pages share: how a template becomes one self-contained, escaped file.

A page loads nothing: its own content policy forbids it, and lets run one script only, its own, known by its digest. So
markup that found its way in would still do nothing. Knows no page's content; the look is `look.html.j2`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources
from typing import Any

import jinja2

from tasks.words import duration, size

_POLICY = '<meta http-equiv="Content-Security-Policy" content="{}">'
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def page(template: str, **values: Any) -> str:
    """Render `tasks/<template>`, everything in it escaped, and put its content policy into its head.

    The template has one `<head>`, and a `<script>` that runs holds no values: they come in a block of JSON beside it.
    A value that is missing is an error.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, loader=jinja2.FunctionLoader(_template)
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.filters.update(size=size, seconds=duration, number=number)
    text = environment.get_template(template).render(**values)
    scripts = " ".join(map(_digest, _SCRIPT.findall(_template(template)))) or "'none'"
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        f"form-action 'none'; script-src {scripts}"
    )
    return text.replace("<head>", f"<head>\n{_POLICY.format(policy)}", 1)


def data_uri(data: bytes, kind: str) -> str:
    """Return bytes as a `data:` URI of a media type such as 'image/jpeg'; '' for none."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}" if data else ""


def number(value: Any, digits: int = 3) -> str:
    """Return a figure for people, '–' where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def _digest(script: str) -> str:
    """How a content policy names a script; taken of the template's, before any value is in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _template(name: str) -> str:
    return (resources.files("tasks") / name).read_text(encoding="utf-8")
