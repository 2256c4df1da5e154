"""Types of texts that outlive a run: without secrets in records, refused with secrets in run forms.

Knows what a secret is only by asking `configs.redact`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from configs.redact import OPEN_TEXT, redact

Kept = Annotated[str, AfterValidator(redact)]
"""A text of a record that outlives the run."""


def _open(text: str) -> str:
    if not re.match(OPEN_TEXT, text):
        raise ValueError(
            f"{redact(text)} holds a password or token, which would be stored with the run; keep the address in a "
            "Prefect Secret block and write secret:NAME-OF-THE-BLOCK here"
        )
    return text


OpenText = Annotated[str, AfterValidator(_open), Field(json_schema_extra={"pattern": OPEN_TEXT})]
"""A text that people put into a run form."""
