"""What argparse and dataclasses lack: errors in one line, repeated flags that add up, the text under a field."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import textwrap
from typing import Any, NoReturn

from utils.errors import UserError


class UserParser(argparse.ArgumentParser):
    """A parser whose errors are UserErrors: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


class Gather(argparse.Action):
    """The values of a flag that is given more than once are joined."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        known = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if known is self.default else [*known, *values])


def field_docs(config_class: type) -> dict[str, str]:
    """The string under each field of a dataclass (and of the dataclasses it inherits from)."""
    docs: dict[str, str] = {}
    for cls in reversed(config_class.__mro__):
        if not dataclasses.is_dataclass(cls):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(definition, ast.ClassDef)
        body = definition.body
        for field, text in zip(body, body[1:]):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                docs[field.target.id] = " ".join(str(text.value.value).split())
    return docs
