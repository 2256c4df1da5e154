"""The command line: which commands there are, and how every exit looks to people, scripts and shells.

Commands live in `flows.commands`, one module per group, imported only when asked for (`--help` loads neither
torch nor Prefect). A command returns an `Outcome`; printing, exit codes and `--json` (exactly one object on
stdout, whatever happens) are decided here alone.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO

import click

from configs.errors import ConfigError, Interrupted, SteadyframeError
from flows.signals import interrupt_on_sigterm

if TYPE_CHECKING:
    from flows.commands.outcome import Outcome

# name -> (module, what it does); the second part is repeated here so that --help imports nothing
COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "demo": ("flows.commands.jobs", "Render a short clip with sound, restyle it, say where things are."),
        "restyle": ("flows.commands.jobs", "Restyle videos by text and a named style, without flicker."),
        "library": ("flows.commands.library", "Restyle what is new or changed in whole folders."),
        "deflicker": ("flows.commands.deflicker", "Steady a finished video, or fill in between keyframes."),
        "plan": ("flows.commands.plan", "Say what a job would do, and about how long; compute nothing."),
        "evaluate": ("flows.commands.evaluate", "Measure flicker, sharpness and fidelity of a video."),
        "styles": ("flows.commands.styles", "List the named styles, or preview them all on a frame of a clip."),
        "presets": ("flows.commands.listings", "List the presets: where the settings of a job start from."),
        "runs": ("flows.commands.listings", "List the jobs of the store, newest first."),
        "replay": ("flows.commands.replay", "Try the dead videos again, with exactly the inputs they died with."),
        "explain": ("flows.commands.listings", "Say why stages of a result were computed or reused."),
        "verify": ("flows.commands.maintenance", "Read artifacts and outputs again and check their digests."),
        "clean": ("flows.commands.maintenance", "Say what of the store could go; with --yes remove it."),
        "doctor": ("flows.commands.machine", "Check this machine: versions, devices, disk, store, server."),
        "serve": ("flows.commands.machine", "Run server, UI, deployments and worker until stopped."),
    }
)


class CommandLine(click.Group):
    """A group that loads commands by name and owns every way out of the program."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return names in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command; None when there is none of that name."""
        if name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[name][0]), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may have been meant."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from configs.presets import nearest

            ctx.fail(f"no such command {args[0]!r}{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run one command line; exits with the code of the contract (or returns it when not standalone)."""
        given = list(sys.argv[1:] if args is None else args)
        before_end = given[: given.index("--")] if "--" in given else given
        as_json = "--json" in before_end
        method = next((word for word in before_end if word in COMMANDS), "")
        with _stdout_kept_clean(as_json) as out, interrupt_on_sigterm():
            try:
                outcome = super().main(given, prog_name or "steadyframe", complete_var, standalone_mode=False, **extra)
            except BaseException as error:
                outcome = _failed(error, method)
            code = _tell(outcome, method, as_json, out)
        if standalone_mode:
            sys.exit(code)
        return code


def _tell(outcome: Outcome | int | None, method: str, as_json: bool, out: TextIO) -> int:
    """Print the outcome and return the exit code; click returns a plain number after `--help`."""
    if isinstance(outcome, int) or outcome is None:
        code = outcome or 0
        if as_json:
            out.write(_envelope(method) + "\n")
            out.flush()
        return code
    try:
        if as_json:
            out.write(outcome.to_json() + "\n")
        else:
            if outcome.text:
                out.write(outcome.text.rstrip("\n") + "\n")
            for entry in outcome.result.errors:
                where = f"{entry.source}: " if entry.source and entry.source not in entry.message else ""
                click.secho(f"{where}{entry.message}", err=True, fg="red")
        out.flush()
    except BrokenPipeError:
        # the reader (`| head`) has gone; keep Python from failing again when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return outcome.exit_code


def _envelope(method: str) -> str:
    from flows.result import JobResult

    return JobResult(method=method, status="completed").to_json()


def _failed(error: BaseException, method: str) -> Outcome:
    """Turn anything that ended a command into an outcome; a fault of ours leaves its trace on stderr."""
    from flows.commands.outcome import Outcome
    from flows.result import JobResult

    if isinstance(error, (click.exceptions.Abort, KeyboardInterrupt)):
        error = Interrupted("stopped; committed work is kept and the same command resumes")
    elif isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        error = ConfigError("no command given; try steadyframe --help")
    elif isinstance(error, click.ClickException):
        usage = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "steadyframe"
        error = UsageError(f"{error.format_message().rstrip('.')}; see {usage} --help")
    elif isinstance(error, SystemExit):
        error = RuntimeError(f"a library called exit({error.code!r})")
    if not isinstance(error, SteadyframeError):
        traceback.print_exception(error, file=sys.stderr)
        click.echo("This is a fault of Steadyframe, not yours.", err=True)
    return Outcome(JobResult.failure(method, error))


class UsageError(ConfigError):
    """An argument or option the command line does not understand."""


@contextmanager
def _stdout_kept_clean(as_json: bool) -> Iterator[TextIO]:
    """Yield the real stdout; with `--json`, what libraries or child processes print goes to stderr."""
    real = sys.stdout
    if not as_json:
        yield real
        return
    kept = _own_descriptor(real)
    sys.stdout = sys.stderr
    try:
        yield kept or real
    finally:
        sys.stdout = real
        if kept is not None:
            os.dup2(kept.fileno(), 1)
            kept.close()


def _own_descriptor(stream: TextIO) -> TextIO | None:
    """Move descriptor 1 aside and point it at stderr; None where stdout is not a descriptor (tests)."""
    try:
        if stream.fileno() != 1:
            return None
        stream.flush()
        kept = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        return kept
    except (OSError, ValueError, AttributeError):
        return None


@click.command(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="steadyframe", message="%(prog)s %(version)s")
def main() -> None:
    """Restyle videos with diffusion models: resumable, without flicker, the same bits on any workers."""
