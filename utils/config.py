"""Dataclass <-> flags: one field is one flag, its default is the default, the docstring below it the help.

A program's flags are one frozen dataclass. Its fields are flags, or groups: dataclasses of flags, whose docstring in
the program's class is the title in --help. `read_flags` makes that dataclass from a command line, and gives every
program `--config FILE.json`: a flat object {flag: value} or a run's own config.json, which the command line overrides.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from utils.arguments import Gather, UserParser, field_docs
from utils.atomic import check_apart
from utils.errors import UserError
from utils.reading.json_file import read_json

Config = TypeVar("Config")
ROOT = Path(__file__).resolve().parents[1]
WRITTEN = ("output", "out", "target", "overlay", "json", "result")  # flags of these names are files to write
_CONFIG_HELP = "JSON with values of these flags, or a run's config.json; flags override it, --no-FLAG its switches"


@dataclass(frozen=True)
class Looks:
    """What a flag has beyond its name, type and default."""

    names: tuple[str, ...] = ()  # others: -a, --another
    choices: tuple[str, ...] = ()  # the only values; `{choices}` in the help stands for them
    spellings: Mapping[str, str] = dataclasses.field(default_factory=dict)  # another spelling of a value -> the value
    known: tuple[str, ...] = ()  # words that `{known}` in the help stands for
    const: Any = None  # the value if the flag is given alone
    positional: bool = False
    metavar: str | None = None  # what the help calls the value


def flag(default: Any, *names: str, **looks: Any) -> Any:
    """A dataclass field with `Looks`."""
    return dataclasses.field(default=default, metadata={"looks": Looks(names, **looks)})


def required(*names: str, **looks: Any) -> Any:
    """A dataclass field without a default, with `Looks`."""
    return flag(dataclasses.MISSING, *names, **looks)


def positional(default: Any = dataclasses.MISSING, metavar: str | None = None) -> Any:
    """A dataclass field that is a positional argument."""
    return flag(default, positional=True, metavar=metavar)


@dataclass(frozen=True)
class Flag:
    """One flag of a dataclass."""

    name: str
    kind: type  # bool, int, float, str or Path
    many: bool  # several values, a tuple of kind
    optional: bool  # may be None
    default: Any  # dataclasses.MISSING: required
    text: str
    looks: Looks

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING

    @property
    def spelled(self) -> list[str]:
        """-a, --audio, --other; the name alone for a positional argument."""
        if self.looks.positional:
            return [self.looks.metavar or self.name]
        short = [name for name in self.looks.names if not name.startswith("--")]
        return [*short, f"--{self.name}", *(name for name in self.looks.names if name.startswith("--"))]

    @property
    def help(self) -> str:
        """The text, followed by the default unless the text mentions it."""
        text = self.text.replace("{choices}", ", ".join(self.looks.choices))
        text = text.replace("{known}", ", ".join(self.looks.known))
        if "default" in text or self.kind is bool or self.default in (None, "", ()):
            return text
        shown = self.default
        if isinstance(shown, Path) and shown.is_relative_to(ROOT):
            shown = shown.relative_to(ROOT)
        shown = " ".join(map(str, self.default)) if self.many and not self.required else shown
        return f"{text.removesuffix('.')} ({'required' if self.required else f'default: {shown}'})."

    def convert(self, text: Any) -> Any:
        """The value of a word from the command line.

        Raises:
            ValueError: the word is not a number of this kind.
        """
        return self.kind(self.looks.spellings.get(text, text))

    def checked(self, value: Any, source: str) -> Any:
        """The value of an entry in a JSON file.

        Raises:
            UserError: it has another type.
        """
        if value is None and self.optional:
            return None
        if self.many and isinstance(value, list) and (value or not self.required):
            return tuple(dataclasses.replace(self, many=False, optional=False).checked(one, source) for one in value)
        wanted: Any = {float: (int, float), Path: str}.get(self.kind, self.kind)
        if self.many or not isinstance(value, wanted) or (isinstance(value, bool) and self.kind is not bool):
            kind = f"list of {self.kind.__name__}" if self.many else self.kind.__name__
            article = "an" if kind == "int" else "a"
            raise UserError(f"{source}: {self.name} is {value!r}, not {article} {kind.lower()}; see --help")
        return value if self.kind in (bool, int) else self.convert(value)

    def add_to(self, group: Any, given: Mapping[str, Any]) -> None:
        """Add the flag to a parser or its group; `given` holds values that replace the defaults."""
        default = given.get(self.name, None if self.required else self.default)
        options: dict[str, Any] = {"default": default, "help": self.help.replace("%", "%%")}
        if self.kind is bool:
            group.add_argument(*self.spelled, action="store_true", dest=self.name, **options)
            if given.get(self.name):
                group.add_argument(f"--no-{self.name}", action="store_false", dest=self.name, help=argparse.SUPPRESS)
            return
        missing = self.required and self.name not in given
        options["type"] = self.convert if self.looks.spellings else self.kind
        options["metavar"] = self.looks.metavar
        if self.looks.choices and not self.looks.metavar:
            options["metavar"] = f"{{{','.join(self.looks.choices)}}}"
        if self.looks.positional:
            options["nargs"] = ("+" if missing else "*") if self.many else (None if missing else "?")
            group.add_argument(self.name, **options)
            return
        if self.many or self.looks.const is not None:
            options |= {"nargs": "+", "action": Gather} if self.many else {"nargs": "?", "const": self.looks.const}
        group.add_argument(*self.spelled, dest=self.name, required=missing, **options)


@functools.cache
def flags_of(config_class: type) -> dict[str, Flag]:
    """The flags of a dataclass by name, without those of its groups."""
    docs, found = field_docs(config_class), {}
    for field, hint in _fields(config_class):
        if dataclasses.is_dataclass(hint):
            continue
        options = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
        (kind,) = options - {type(None)}
        many = typing.get_origin(kind) in (tuple, Sequence)
        looks = field.metadata.get("looks", Looks())
        kind = typing.get_args(kind)[0] if many else kind
        optional = type(None) in options
        found[field.name] = Flag(field.name, kind, many, optional, field.default, docs.get(field.name, ""), looks)
    return found


def groups_of(config_class: type) -> Iterator[tuple[str, str, type]]:
    """Field, title and dataclass of each group of a program's flags."""
    docs = field_docs(config_class)
    for field, hint in _fields(config_class):
        if dataclasses.is_dataclass(hint):
            yield field.name, docs.get(field.name, field.name), typing.cast(type, hint)


def all_flags(config_class: type) -> dict[str, Flag]:
    """The flags of a program by name, those of its groups included."""
    groups = [flags_of(group) for _, _, group in groups_of(config_class)]
    return {name: one for flags in (*groups, flags_of(config_class)) for name, one in flags.items()}


def _fields(config_class: type) -> Iterator[tuple[dataclasses.Field, Any]]:
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        yield field, hints[field.name]


def add_flags(
    parser: argparse.ArgumentParser, config_class: type, title: str | None, given: Mapping[str, Any] | None = None
) -> None:
    """Add one flag per field, in a help group called `title`. A bool field that is False by default is a switch."""
    group = parser.add_argument_group(title) if title else parser
    for one in flags_of(config_class).values():
        if f"--{one.name}" not in parser._option_string_actions:  # a field shared by two dataclasses is one flag
            one.add_to(group, given or {})


def make_parser(config_class: type, description: str, given: Mapping[str, Any] | None = None) -> UserParser:
    """A program's parser: its own flags, those of its groups, and --config."""
    parser = UserParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser, config_class, None, given)
    for _, title, group in groups_of(config_class):
        add_flags(parser, group, title, given)
    parser.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG_HELP)
    return parser


def read_flags(
    config_class: type[Config], argv: list[str] | None, description: str, known: Mapping[str, Any] | None = None
) -> Config:
    """Read a program's flags from its command line and check them: values against their choices, groups by `check`.

    `known` are values that replace defaults; --config and the command line override them.

    Raises:
        UserError: a flag or the file of --config cannot be used, or the output is a file that is read.
    """
    first = UserParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    path = first.parse_known_args(argv)[0].config
    given = {**(known or {}), **(read_values(path, all_flags(config_class)) if path else {})}
    made = from_args(config_class, make_parser(config_class, description, given).parse_args(argv))
    check(made)
    files = dict(paths_of(made))
    check_apart(
        [file for name, paths in files.items() if name in WRITTEN for file in paths if not file.is_dir()],
        [path, *(file for name, paths in files.items() if name not in WRITTEN for file in paths if not file.is_dir())],
    )
    return made


def paths_of(config: Any) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """The flags of a program that name files or folders, those of its groups included, with their values."""
    for name, _, _ in groups_of(type(config)):
        yield from paths_of(getattr(config, name))
    for one in flags_of(type(config)).values():
        value = getattr(config, one.name)
        if one.kind is Path and value is not None:
            yield one.name, tuple(value) if one.many else (value,)


def read_values(path: Path, flags: Mapping[str, Flag], some: bool = False) -> dict[str, Any]:
    """The values in a JSON file, flat or in groups; with `some` those of other flags are passed over.

    Raises:
        UserError: unreadable, an unknown flag, or a value of the wrong type.
    """
    names = {spelled.lstrip("-"): one for one in flags.values() for spelled in (*one.spelled, one.name)}
    values = {}
    for key, value in read_json(path).items():
        for name, found in value.items() if isinstance(value, dict) else [(key, value)]:
            if name not in names and some:
                continue
            if name not in names:
                raise UserError(f"{path}: {name!r} is not a flag of this program; see --help")
            values[names[name].name] = names[name].checked(found, str(path))
    return values


def from_args(config_class: type[Config], args: argparse.Namespace) -> Config:
    """Take this dataclass's fields, and those of its groups, from parsed arguments."""
    values: dict[str, Any] = {name: getattr(args, name) for name in flags_of(config_class)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return config_class(**values, **{name: from_args(group, args) for name, _, group in groups_of(config_class)})


def check(config: Any) -> None:
    """Check values against their choices, then call `check` of the program's flags and groups where there is one.

    Raises:
        UserError: naming the flag.
    """
    for name, _, _ in groups_of(type(config)):
        check(getattr(config, name))
    for one in flags_of(type(config)).values():
        value = getattr(config, one.name)
        for each in value or () if one.many else (value,):
            if one.looks.choices and each is not None:
                check_choice(f"--{one.name}", each, one.looks.choices)
    if hasattr(config, "check"):
        config.check()


def to_plain(config: Any) -> dict[str, Any]:
    """A dataclass as plain numbers and strings (paths become strings), for checkpoints and logs."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(config).items()}


def check_choice(flag: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises UserError naming the flag when `value` is not one of `choices`."""
    if value not in choices:
        raise UserError(f"{flag}: {value!r} is not a choice; use one of {', '.join(choices)}")


def check_least(config: Any, **least: float) -> None:
    """Raises UserError naming the flag when a number is below its least value; None passes."""
    for name, low in least.items():
        value = getattr(config, name)
        if value is not None and not value >= low:
            raise UserError(f"--{name} {value}: must be at least {low:g}")
