"""Typer commands from request dataclasses: the fields of a request are the options of its verb."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from gfnet_dynn.errors import GFNetDynnError
from gfnet_dynn.options import flag, option_of

CONTEXT_SETTINGS = {"token_normalize_func": lambda token: token.replace("_", "-"), "max_content_width": 80}
"""Every option is understood with hyphens and with underscores."""

Preset = Mapping[type, Mapping[str, Any]]
"""For each dataclass the values that replace its defaults, by field name."""


def path(text: str | Path) -> Path:
    """The path of an option; an empty one, as of an unset shell variable, would be the working folder."""
    if text == "":
        raise typer.BadParameter("it is empty: name a file or folder ('.' is the working folder)")
    return Path(text)


def command(
    app: typer.Typer, name: str, request: type, *, preset: Callable[[str], Preset] | None = None
) -> Callable[[Callable[[Any], None]], None]:
    """Add a verb to the application; the decorated function gets the finished request.

    Args:
        app: gets the verb.
        name: of the verb.
        request: frozen dataclass whose fields are made by `option`; a field whose type is a dataclass is a group of
            options, listed under the first line of that dataclass's docstring.
        preset: reads what `--recipe` names; options on the command line win over it.
    """

    def decorate(function: Callable[[Any], None]) -> None:
        def run(context: typer.Context, **values: Any) -> None:
            recipe = values.get("recipe")
            chosen = preset(recipe) if preset and recipe is not None else {}
            function(_build(request, values, context, chosen))

        parameters = [_CONTEXT, *_parameters(request, required=preset is None), _HELP_ALL]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # read by typer
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__doc__, run.__name__ = function.__doc__, function.__name__
        app.command(name, cls=GroupedHelp, context_settings=CONTEXT_SETTINGS)(run)

    return decorate


class GroupedHelp(TyperCommand):
    """Plain help of at most 80 columns, with the options in groups and without the rare ones."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Usage, description, arguments, then one section for each group."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                panel = getattr(parameter, "rich_help_panel", None)
                default = "Arguments" if parameter.param_type_name == "argument" else "Help"
                sections.setdefault(panel or default, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=26)


def _show_all(context: typer.Context, asked: bool) -> None:
    if asked:
        for parameter in context.command.params:
            if parameter.name != "help_all":
                parameter.hidden = False  # type: ignore[attr-defined] # an argument is never hidden
        typer.echo(context.get_help())
        raise typer.Exit


def _parameters(request: type, *, required: bool) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(request)
    for each in fields(request):
        if is_dataclass(hints[each.name]):
            yield from _parameters(hints[each.name], required=required)
        else:
            yield _parameter(request, each, hints[each.name], required=required)


def _parameter(request: type, each: Field[Any], hint: Any, *, required: bool) -> inspect.Parameter:
    info = option_of(each)
    name = info.flag or flag(each.name)
    names = [f"{name}/--no-{name[2:]}" if hint is bool else name, *([info.short] if info.short else [])]
    several = get_origin(hint) is tuple and info.parse is None
    single = get_args(hint)[0] if several else str if info.parse else hint
    parse = path if Path in (single, *get_args(single)) else info.parse
    more: dict[str, Any] = {"help": info.help, "parser": _parser(parse) if parse else None, "metavar": info.metavar}
    panel = info.panel or (request.__doc__ or "").partition("\n")[0].rstrip(".")
    declared = (
        typer.Argument(**more)
        if info.argument
        else typer.Option(
            *names,
            rich_help_panel=panel,
            hidden=info.rare,
            show_default=each.default not in (None, MISSING, ()),
            **more,
        )
    )
    default = None if each.default in (MISSING, ()) else each.default
    if each.default is MISSING and required:
        default = inspect.Parameter.empty
    shown = list[single] if several else single  # type: ignore[valid-type]
    if default is None and not _takes_none(shown):
        shown = shown | None
    return inspect.Parameter(
        each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[shown, declared]
    )


def _takes_none(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)


def _parser(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def parsed(value: Any) -> Any:
        if not isinstance(value, str):  # a default
            return value
        try:
            return parse(value)
        except GFNetDynnError as error:
            raise typer.BadParameter(str(error)) from error

    parsed.__name__ = "text"
    return parsed


def _build(request: type, values: Mapping[str, Any], context: typer.Context, preset: Preset) -> Any:
    """The request from the values of the command line, and from the preset where the line says nothing."""
    hints, arguments = get_type_hints(request), {}
    for each in fields(request):
        if is_dataclass(hints[each.name]):
            arguments[each.name] = _build(hints[each.name], values, context, preset)
            continue
        source, value = context.get_parameter_source(each.name), values[each.name]
        if source is None or source.name == "DEFAULT":
            missing = None if each.default is MISSING else each.default
            value = preset.get(request, {}).get(each.name, value if missing is None else missing)
        arguments[each.name] = tuple(value or ()) if get_origin(hints[each.name]) is tuple else value
    return request(**arguments)


_CONTEXT = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
_HELP_ALL = inspect.Parameter(
    "help_all",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool, typer.Option("--help-all", help="Show rare options too.", callback=_show_all, is_eager=True)
    ],
)
