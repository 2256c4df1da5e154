"""Every handler of this process's logs leaves secrets out, Prefect's own handlers among them.

Knows handlers only; what a secret is, is `configs.redact`.
"""

from __future__ import annotations

import logging

from configs.redact import RedactingFilter


def redact_logs() -> None:
    """Put the filter on every handler there is now; cheap, and called again where a library may have made new ones."""
    loggers = [
        logging.getLogger(),
        *(x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger)),
    ]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if not any(isinstance(kept, RedactingFilter) for kept in handler.filters):
            handler.addFilter(RedactingFilter())
