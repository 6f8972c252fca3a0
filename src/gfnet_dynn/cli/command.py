"""Click commands from request dataclasses: the fields of a request are the options of its verb."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from gfnet_dynn.errors import OptionError
from gfnet_dynn.options import Option, flag, option_of
from gfnet_dynn.units import parse_bytes, parse_share, percent, size

CONTEXT_SETTINGS = {"token_normalize_func": lambda token: token.replace("_", "-"), "max_content_width": 80}
"""Every option is understood with hyphens and with underscores."""

_FIRST_COLUMN = 26

Preset = Mapping[type, Mapping[str, Any]]
"""For each dataclass the values that replace its defaults, by field name."""


_WRITTEN: Mapping[Any, Callable[[Any], str]] = {parse_share: percent, parse_bytes: size}
"""How a default is shown, by what reads the value."""


class GroupedHelp(click.Command):
    """Help of at most 80 columns with the options in groups, by their attribute `panel`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section for each group of arguments, options or subcommands."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for title, record in self.records(ctx):
            sections.setdefault(title, []).append(record)
        names = [len(name) for records in sections.values() for name, _ in records]
        width = max(length for length in names if length <= _FIRST_COLUMN)
        for title, records in sorted(sections.items(), key=lambda section: section[0] != "Arguments"):
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in records], col_max=width)

    def records(self, ctx: click.Context) -> Iterator[tuple[str, tuple[str, str]]]:
        """Heading, name and help of each line."""
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                yield getattr(parameter, "panel", "Help"), record


class Group(GroupedHelp, click.Group):
    """A verb with subcommands, in the order in which they were added."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, help=description, context_settings=CONTEXT_SETTINGS)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the subcommands."""
        return list(self.commands)

    def panel(self, name: str) -> str:
        """The heading under which `--help` lists a subcommand."""
        return "Commands"

    def records(self, ctx: click.Context) -> Iterator[tuple[str, tuple[str, str]]]:
        """The subcommands, then the parameters."""
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            yield self.panel(name), (name, ((command and command.help) or "").partition("\n")[0])
        yield from super().records(ctx)


def command(
    app: click.Group, name: str, *, preset: Callable[[Mapping[str, Any]], Preset] | None = None
) -> Callable[[Callable[[Any], None]], None]:
    """Add a verb to a group: a function whose docstring is the help, and whose only parameter is the finished request.

    The request is a frozen dataclass whose fields are made by `option`; a field whose type is a dataclass is a group of
    options, listed under the first line of that dataclass's docstring. `preset` makes, from the options of the command
    line (None or empty: not given), values that replace the defaults.
    """

    def decorate(function: Callable[[Any], None]) -> None:
        request = next(iter(get_type_hints(function).values()))

        def run(**values: Any) -> None:
            function(_build(request, values, preset(values) if preset else {}))

        params = [*_parameters(request, required=preset is None)]
        more: dict[str, Any] = {"is_flag": True, "expose_value": False, "is_eager": True, "callback": _show_all}
        more["hidden"] = not any(getattr(each, "hidden", False) for each in params)
        params.append(click.Option(["--help-all"], help="Show rare options too.", **more))
        app.add_command(
            GroupedHelp(name, callback=run, params=params, help=function.__doc__, context_settings=CONTEXT_SETTINGS)
        )

    return decorate


class _Argument(click.Argument):
    """A positional argument with help, which click has from 8.5 on."""

    panel = "Arguments"

    def __init__(self, names: list[str], *, description: str, **more: Any) -> None:
        super().__init__(names, **more)
        self._description = description

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        return self.make_metavar(ctx), self._description


class _Option(click.Option):
    """An option in a group; click's own default is always None, so that None stands for an option not given."""

    def __init__(self, names: list[str], *, panel: str, **more: Any) -> None:
        if not more.get("required"):  # to click from 8.5 on, a default satisfies what is required
            more["default"] = None
        super().__init__(names, **more)
        self.panel = panel


class _Parsed(click.ParamType):  # type: ignore[type-arg] # generic from click 8.5 on
    """A value read by a function that raises an OptionError."""

    def __init__(self, parse: Callable[[str], Any], name: str) -> None:
        self._parse, self.name = parse, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value from its text; raises UsageError: names the option and what is wrong."""
        try:
            return self._parse(value) if isinstance(value, str) else value
        except OptionError as error:
            self.fail(str(error), param, ctx)


def _path(text: str) -> Path:
    if not text:  # as of an unset shell variable
        raise OptionError("it is empty: name a file or folder ('.' is the working folder)")
    return Path(text)


def _parameters(request: type, *, required: bool) -> Iterator[click.Parameter]:
    hints = get_type_hints(request)
    for each in fields(request):
        if is_dataclass(hints[each.name]):
            yield from _parameters(hints[each.name], required=required)
        else:
            yield _parameter(request, each, hints[each.name], required=required and each.default is MISSING)


def _parameter(request: type, each: Field[Any], hint: Any, *, required: bool) -> click.Parameter:
    info = option_of(each)
    several = _several(hint, info)
    shared: dict[str, Any] = {"type": _type(hint, info), "required": required, "metavar": info.metavar}
    if info.argument:
        return _Argument([each.name], description=info.help, nargs=-1 if several else 1, **shared)
    name = info.flag or flag(each.name)
    names = [
        each.name,
        f"{name}/--no-{name[2:]}" if hint is bool and not info.flag else name,
        *([info.short] if info.short else []),
    ]
    panel = info.panel or (request.__doc__ or "").partition("\n")[0].rstrip(".")
    # The value is named, as click 8.2.0 takes None for the opposite of the default None: the flag would do nothing.
    shared |= {"is_flag": True, "flag_value": True} if hint is bool else {}
    return _Option(
        names, panel=panel, help=info.help + _default(each, info), hidden=info.rare, multiple=several, **shared
    )


def _several(hint: Any, info: Option) -> bool:
    return get_origin(hint) is tuple and info.parse is None


def _type(hint: Any, info: Option) -> Any:
    """The type of one value: of `X | None` and `tuple[X, ...]` that of X."""
    if info.parse:
        return _Parsed(info.parse, "percentage" if info.parse is parse_share else "text")
    while get_args(hint) and get_origin(hint) is not Literal:
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint))
    return _Parsed(_path, "path") if hint is Path else hint


def _default(each: Field[Any], info: Option) -> str:
    value = each.default
    if value in (None, MISSING, (), False):
        return ""
    if value is True:
        value = (info.flag or flag(each.name))[2:]
    elif info.parse in _WRITTEN:
        value = _WRITTEN[info.parse](value)
    return f" [default: {', '.join(map(str, value)) if isinstance(value, tuple) else value}]"


def _build(request: type, values: Mapping[str, Any], preset: Preset) -> Any:
    """The request from the command line, then from the preset, then from its own defaults."""
    hints, arguments = get_type_hints(request), {}
    for each in fields(request):
        if is_dataclass(hints[each.name]):
            arguments[each.name] = _build(hints[each.name], values, preset)
            continue
        value = values[each.name]
        if value is None or (value == () and _several(hints[each.name], option_of(each))):
            value = preset.get(request, {}).get(each.name, None if each.default is MISSING else each.default)
        arguments[each.name] = value
    return request(**arguments)


def _show_all(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        for each in context.command.params:
            if isinstance(each, click.Option):
                each.hidden = each is parameter
        click.echo(context.get_help())
        context.exit()
