"""Dataclass <-> argparse: one field is one flag, its default is the default, the docstring below it the help."""

import argparse
import ast
import dataclasses
import inspect
import textwrap
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from utils.errors import UserError

Config = TypeVar("Config")


def field_docs(config_class: type) -> dict[str, str]:
    """The string under each field of a dataclass (and of the dataclasses it inherits from)."""
    docs: dict[str, str] = {}
    for cls in reversed(config_class.__mro__):
        if not dataclasses.is_dataclass(cls):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
        for field, text in zip(body, body[1:]):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                docs[field.target.id] = " ".join(str(text.value.value).split())
    return docs


def add_flags(parser: argparse.ArgumentParser, config_class: type, title: str) -> None:
    """Add one flag per field, in a help group called `title`. A bool field that is False by default is a switch."""
    group = parser.add_argument_group(title)
    docs, hints = field_docs(config_class), typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        known = parser._option_string_actions  # a field shared by two dataclasses is one flag
        if f"--{field.name}" in known:
            continue
        required = field.default is dataclasses.MISSING
        text = docs.get(field.name, "")
        if hints[field.name] is bool:
            group.add_argument(f"--{field.name}", action="store_true", help=text)
            continue
        note = " (required)" if required else f" (default: {field.default})"
        group.add_argument(
            f"--{field.name}",
            type=_parser(hints[field.name]),
            required=required,
            default=None if required else field.default,
            help=(text + note).replace("%", "%%"),
        )


def from_args(config_class: type[Config], args: argparse.Namespace) -> Config:
    """Pick this dataclass's fields from parsed arguments."""
    return config_class(**{f.name: getattr(args, f.name) for f in dataclasses.fields(config_class)})


def to_plain(config: Any) -> dict[str, Any]:
    """A dataclass as plain numbers and strings (paths become strings), for checkpoints and logs."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(config).items()}


def check_choice(flag: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises UserError naming the flag when `value` is not one of `choices`."""
    if value not in choices:
        raise UserError(f"{flag}: {value!r} is not a choice; use one of {', '.join(choices)}")


def _parser(hint: Any) -> type:
    """The plain type of a hint; `X | None` is X."""
    if isinstance(hint, types.UnionType):
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    return hint


class UserParser(argparse.ArgumentParser):
    """argparse whose errors are ours: one line, exit code 2."""

    def error(self, message: str) -> typing.NoReturn:
        raise UserError(f"{message}; see --help")
