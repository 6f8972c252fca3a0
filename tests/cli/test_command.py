"""Options as they are made from a request: what a user types reaches the request, with any version of click."""

from __future__ import annotations

from dataclasses import dataclass

import click
import pytest

from gfnet_dynn.cli.command import command
from gfnet_dynn.options import option


@dataclass(frozen=True)
class Wanted:
    """Options.

    Attributes: one of each kind.
    """

    resume: bool = option(False, "Go on.", flag="--resume", short="-r")
    checks: bool = option(True, "Check.")
    output: str | None = option(None, "File.")
    names: tuple[str, ...] = option((), "Names.")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ((), Wanted()),
        (("--resume",), Wanted(resume=True)),
        (("-r", "--no-checks"), Wanted(resume=True, checks=False)),
        (("--checks", "--output", "a"), Wanted(output="a")),
        (("--resume", "--names", "a", "--names", "b"), Wanted(resume=True, names=("a", "b"))),
    ],
)
def test_each_kind_of_option_reaches_the_request(line: tuple[str, ...], expected: Wanted) -> None:
    app, requests = click.Group(), list[Wanted]()

    @command(app, "verb")
    def verb(request: Wanted) -> None:
        """Do it."""
        requests.append(request)

    app.main(["verb", *line], standalone_mode=False)
    assert requests == [expected]
