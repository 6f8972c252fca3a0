"""`gfnet-dynn classify`."""

from __future__ import annotations

import sys

import click

from gfnet_dynn.bulk.request import ClassifyFilesRequest
from gfnet_dynn.cli.streams import print_note
from gfnet_dynn.errors import ModelChoiceError
from gfnet_dynn.wording import counted


def classify(request: ClassifyFilesRequest) -> None:
    """Classify images with a built-in model or a bundle. Needs no torch and no network connection.

    Folders and lists may be of any size: answers come in the order of the names. What cannot be read has a line with
    its error in JSON, CSV and Parquet, and is named at the end; the exit status is then 2.
    """
    from gfnet_dynn.workflows.file_classification import classify_files

    result = classify_files(request, on_line=_print, log=print_note, ask=_ask)
    if result.output:
        from gfnet_dynn.cli.terminal import Terminal

        Terminal().show(result, files=[result.output])
    if result.unreadable:
        print_note(*(f"error: {error}" for error in result.tally.first_errors))
        if result.unreadable > len(result.tally.first_errors):
            more = "" if request.format != "text" else ": --format csv or json has a line for each"
            print_note(f"{counted(result.unreadable, 'file')} could not be read{more}")
        raise SystemExit(2)


def _print(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


def _ask(error: ModelChoiceError) -> str:
    """The name of a built-in model, from whoever sits at the terminal; elsewhere the error is raised."""
    if not (error.models and sys.stdin.isatty() and sys.stderr.isatty()):
        raise error
    print_note(str(error))
    chosen: str = click.prompt("Model", type=click.Choice(error.models), err=True)
    return chosen
