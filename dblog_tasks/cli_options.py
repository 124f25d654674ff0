"""What the verbs of the command line share: exit codes, how options are declared and read, and the options of a store.

A verb is a function. Its positional parameters are arguments, the others options, and what one means stands beside its type:

    type                        on the command line
    str, int, float, Path       a value
    bool                        a switch
    Literal["a", "b"]           one of these
    list[str]                   any number of values: the option once for each
    a dataclass                 an option for each of its fields

The standard library reads the line: a quarter of what a short plan takes would be the start of a bigger parser.
"""

from __future__ import annotations

from argparse import Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
import inspect
import os
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, get_args, get_origin, get_type_hints

from dblog_tasks import storage
from dblog_tasks.errors import InvalidInput

DONE, USAGE, INCOMPLETE, CONFLICTING, DIFFERS, DRIFTED, INTERRUPTED = 0, 1, 3, 4, 5, 6, 130
WIDTH = 100  # of help, in characters

Verb = Callable[..., int]


class Option(NamedTuple):
    """What an option or argument of a verb means.

    Attributes:
        help: said of it in the help.
        name: as it is asked for; by default that of its parameter. Of an argument: as the help calls it.
        environment: a variable that gives its default.
    """

    help: str
    name: str = ""
    environment: str = ""


class _Declared(NamedTuple):
    """A parameter of a verb, or a field of one.

    Attributes:
        name: of the parameter or field.
        kind: its type.
        option: what it means.
        flag: how it is asked for; empty for an argument.
        default: MISSING where it must be given.
    """

    name: str
    kind: Any
    option: Option
    flag: str
    default: Any


StorageOptions = Annotated[list[str], Option("K=V for the store; secrets as K=env:NAME.", "--storage-option")]


def store(pairs: Sequence[str], *urls: str) -> dict[str, Any]:
    """Return the storage options given, over those of the settings where a URL leads to another machine."""
    options = storage.parse_storage_options(pairs, os.environ)
    if all("://" not in url or url.startswith(("file://", "memory://")) for url in urls):
        return options
    from dblog_tasks.settings import read_settings  # noqa: PLC0415 - takes long to import

    return read_settings().open_storage_options() | options


def call(verb: Verb, words: Sequence[str]) -> int:
    """Return the exit code of a verb, called with what the words say. Raises InvalidInput for words that it does not take."""
    declared = list(_declared(verb))
    _refuse_unknown(verb, [one.flag for one in declared if one.flag], words)
    names = {word.partition("=")[0] for word in words}
    asked = [one for one in declared if not one.flag or one.default is MISSING or one.flag in names]  # the parser is made of no more
    given = {one.name: one.default for one in declared} | vars(_parser(verb, asked).parse_intermixed_args(words))
    positional, named = [], {}
    for name, parameter in inspect.signature(verb).parameters.items():
        group = type(parameter.default)
        value = group(**{one.name: given[one.name] for one in fields(group)}) if is_dataclass(group) else given[name]
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(value)
        else:
            named[name] = value
    return verb(*positional, **named)


def usage(verb: Verb) -> str:
    """Return the help of a verb."""
    return _parser(verb, list(_declared(verb))).format_help()


def _declared(verb: Verb) -> Iterator[_Declared]:
    hints = get_type_hints(verb, include_extras=True)
    for name, parameter in inspect.signature(verb).parameters.items():
        group = type(parameter.default)
        if is_dataclass(group):
            kinds = get_type_hints(group, include_extras=True)
            for one in fields(group):
                default = one.default if one.default_factory is MISSING else one.default_factory()
                yield _declare(one.name, kinds[one.name], default)
        else:
            default = MISSING if parameter.default is parameter.empty else parameter.default
            yield _declare(name, hints[name], default, positional=parameter.kind is parameter.POSITIONAL_ONLY)


def _declare(name: str, hint: Any, default: Any, *, positional: bool = False) -> _Declared:
    kind, *meanings = get_args(hint)
    option = next(found for found in meanings if isinstance(found, Option))
    flag = "" if positional else option.name or f"--{name.replace('_', '-')}"
    return _Declared(name, kind, option, flag, os.environ.get(option.environment, default) if option.environment else default)


class _Parser(ArgumentParser):
    """Raises what it has to say."""

    def error(self, message: str) -> NoReturn:
        """Raise InvalidInput."""
        raise InvalidInput(message, hint=f"{self.prog} --help")


class _Once(Action):
    """A value; a second one for the same option is an error, for one of the two would be dropped."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None) -> None:
        """Take the value."""
        if getattr(namespace, self.dest) is not self.default:
            parser.error(f"{option_string} is given twice")
        setattr(namespace, self.dest, values)


def _parser(verb: Verb, declared: Sequence[_Declared]) -> _Parser:
    parser = _Parser(
        prog=_called(verb),
        description=inspect.cleandoc(verb.__doc__ or ""),
        formatter_class=lambda prog: RawDescriptionHelpFormatter(prog, max_help_position=26, width=WIDTH),
        allow_abbrev=False,
    )
    must = [_called(verb)]
    for one in declared:
        action = parser.add_argument(*((one.flag,) if one.flag else ()), dest=one.name, help=_said(one), **_taken(one))
        if action.required:
            must.append(f"{one.flag} {action.metavar}".strip())
    parser.usage = " ".join([*must, "[options]"])
    return parser


def _called(verb: Verb) -> str:
    return f"dblog {verb.__name__}"


def _taken(one: _Declared) -> dict[str, Any]:
    """Return for `add_argument` how the value of an option is taken."""
    many = get_origin(one.kind) is list
    if not one.flag:
        return {"metavar": one.option.name, "nargs": "+" if many else None, "type": str if many else one.kind}
    if one.kind is bool:
        return {"action": "store_true"}
    choices = next((get_args(kind) for kind in (one.kind, *get_args(one.kind)) if get_origin(kind) is Literal), None)
    how = {"choices": choices} if choices else {"metavar": one.flag.rsplit("-", 1)[-1].upper(), "type": str if many else one.kind}
    return {**how, "action": "append" if many else _Once, "required": one.default is MISSING, "default": one.default}


def _said(one: _Declared) -> str:
    default = "" if one.default in (MISSING, None, "", False) or isinstance(one.default, list) else f" [{one.default}]"
    return (one.option.help + (f" [${one.option.environment}]" if one.option.environment else default)).replace("%", "%%")


def _refuse_unknown(verb: Verb, known: Sequence[str], words: Sequence[str]) -> None:
    """Raise InvalidInput for an option that is none, before it is missed what it stands for."""
    for word in words:
        if word == "--":
            return
        name = word.partition("=")[0]
        if name.startswith("--") and name not in known and " " not in name:
            from difflib import get_close_matches  # noqa: PLC0415 - only here

            near = get_close_matches(name, known, 1)
            raise InvalidInput(f"unknown option {name}", hint=f"did you mean {near[0]}?" if near else f"{_called(verb)} --help")
