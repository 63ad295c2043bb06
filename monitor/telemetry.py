"""Telemetry: how Barwatch logs. Dotted past-tense events with fields; words for a terminal, JSON for a machine."""

import logging
import sys

import structlog


def set_up_logging(level: str, *, as_json: bool = False) -> None:
    """Log to standard error from `level` up; libraries from WARNING, since httpx tells whole URLs below it."""
    terminal = sys.stderr.isatty() and not as_json
    renderer = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if terminal
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if terminal else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
