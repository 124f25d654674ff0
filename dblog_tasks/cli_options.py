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
    """A parameter of a verb, or a field of one: its name, type, default or MISSING, and whether it is an argument."""

    name: str
    kind: Any
    default: Any
    positional: bool


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
    parser = _parser(verb)
    _refuse_unknown(parser, words)
    given = vars(parser.parse_intermixed_args(words))
    positional, named = [], {}
    for name, parameter in inspect.signature(verb).parameters.items():
        value = type(parameter.default)(**{key: given[key] for key in _fields(parameter.default)}) if _grouped(parameter) else given[name]
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(value)
        else:
            named[name] = value
    return verb(*positional, **named)


def usage(verb: Verb) -> str:
    """Return the help of a verb."""
    return _parser(verb).format_help()


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


def _parser(verb: Verb) -> _Parser:
    parser = _Parser(
        prog=f"dblog {verb.__name__}",
        description=inspect.cleandoc(verb.__doc__ or ""),
        formatter_class=lambda prog: RawDescriptionHelpFormatter(prog, max_help_position=26, width=WIDTH),
        allow_abbrev=False,
    )
    must = ["%(prog)s"]
    for declared in _declared(verb):
        option = next(found for found in get_args(declared.kind) if isinstance(found, Option))
        names, how = _argument(declared, option)
        action = parser.add_argument(*names, **how)
        if action.required:
            must.append(" ".join([*action.option_strings, str(action.metavar)]))
    parser.usage = " ".join([*must, "[options]"])
    return parser


def _declared(verb: Verb) -> Iterator[_Declared]:
    hints = get_type_hints(verb, include_extras=True)
    for name, parameter in inspect.signature(verb).parameters.items():
        if _grouped(parameter):
            group = type(parameter.default)
            kinds = get_type_hints(group, include_extras=True)
            for one in fields(group):
                default = one.default if one.default_factory is MISSING else one.default_factory()
                yield _Declared(one.name, kinds[one.name], default, positional=False)
        else:
            default = MISSING if parameter.default is parameter.empty else parameter.default
            yield _Declared(name, hints[name], default, parameter.kind is parameter.POSITIONAL_ONLY)


def _grouped(parameter: inspect.Parameter) -> bool:
    return is_dataclass(parameter.default)


def _fields(group: Any) -> list[str]:
    return [one.name for one in fields(group)]


def _argument(declared: _Declared, option: Option) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return names and keywords for `add_argument`."""
    kind = get_args(declared.kind)[0]
    many = get_origin(kind) is list
    choices = next((get_args(one) for one in (kind, *get_args(kind)) if get_origin(one) is Literal), None)
    how: dict[str, Any] = {"choices": choices} if choices else {"type": str if many else kind}
    if declared.positional:
        how |= {"metavar": option.name or declared.name.upper(), "nargs": "+" if many else None, "help": option.help}
        return (declared.name,), how
    default = os.environ.get(option.environment, declared.default) if option.environment else declared.default
    name = option.name or f"--{declared.name.replace('_', '-')}"
    how |= {
        "dest": declared.name,
        "metavar": None if choices else name.rsplit("-", 1)[-1].upper(),
        "required": default is MISSING,
        "help": _said(option, default),
        "default": default,
    }
    if kind is bool:
        del how["type"], how["required"], how["metavar"]
        how["action"] = "store_true"
    else:
        how["action"] = "append" if many else _Once
    return (name,), how


def _said(option: Option, default: Any) -> str:
    shown = "" if default in (MISSING, None, "", False) or isinstance(default, list) else f" [{default}]"
    variable = f" [${option.environment}]" if option.environment else ""
    return (option.help + (variable or shown)).replace("%", "%%")


def _refuse_unknown(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Raise InvalidInput for an option that is none, before it is missed what it stands for."""
    known = {name for action in parser._actions for name in action.option_strings}  # noqa: SLF001 - there is no other way to ask
    for word in words:
        if word == "--":
            return
        name = word.partition("=")[0]
        if name.startswith("--") and name not in known and " " not in name:
            from difflib import get_close_matches  # noqa: PLC0415 - only here

            near = get_close_matches(name, known, 1)
            raise InvalidInput(f"unknown option {name}", hint=f"did you mean {near[0]}?" if near else f"{parser.prog} --help")
