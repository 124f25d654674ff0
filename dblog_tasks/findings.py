"""What a doctor found: values, how they are told, and what changed since the last look. No I/O.

Law: a finding says what an undo would miss today and the exact statement that helps; it knows nothing of any database. Nothing in it is
secret: names of tables and settings, the values of settings, and statements with the name of the account.

    lost    what is changed now could not be undone, or not in full
    risk    it could be undone with trouble, or only for a while
    note    worth knowing; nothing is missing

    {"version": 1, "of": what was looked at, "settings": {name: value}, "findings": [{check, subject, severity, value, misses, fix, where}]}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import JsonObject
from dblog_tasks.text import one_line

VERSION = 1
LOST, RISK, NOTE = "lost", "risk", "note"
SQL, CONFIGURATION, SHELL, REDIS, ADVICE = "SQL", "configuration, then restart", "shell", "redis-cli", "advice"
SHOWN_MAX = 20  # findings of one check in a text; all are in JSON
_LINE = 4000


@dataclass(frozen=True, slots=True)
class Finding:
    """What an undo would miss, and what helps.

    Attributes:
        severity: LOST, RISK or NOTE.
        check: what was looked at: a setting's name, or words such as `replica identity`.
        misses: what an undo would miss.
        subject: the table, slot, file it is about; empty: the whole server or log.
        value: what it is now; empty for what is counted anew each time.
        fix: the statement that makes the finding go away; empty where there is none.
        where: what runs the fix: SQL, CONFIGURATION, SHELL, REDIS; ADVICE is for a person.
    """

    severity: str
    check: str
    misses: str
    subject: str = ""
    value: str = ""
    fix: str = ""
    where: str = SQL

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from other findings, also tomorrow."""
        return self.check, self.subject


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found of one server or log.

    Attributes:
        of: what was looked at, without a secret.
        findings: the worst first.
        settings: what decides on an undo, by name, as it is now.
    """

    of: str
    findings: tuple[Finding, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether nothing but notes was found."""
        return all(finding.severity == NOTE for finding in self.findings)

    def to_json(self) -> JsonObject:
        """Return it as a JSON object; `from_json` gives it back equal."""
        return {"version": VERSION, "of": self.of, "settings": dict(self.settings), "findings": [asdict(found) for found in self.findings]}

    @classmethod
    def from_json(cls, value: object) -> Examination:
        """Return what `to_json` wrote. Raises InvalidInput on anything else."""
        try:
            if not isinstance(value, Mapping) or value["version"] != VERSION:
                raise InvalidInput("this is no examination that this version can read", hint="examine again with --as json")
            findings = tuple(Finding(**{name: _text(text) for name, text in found.items()}) for found in value["findings"])
            return cls(_text(value["of"]), findings, {_text(name): _text(text) for name, text in value["settings"].items()})
        except (KeyError, TypeError, AttributeError):
            raise InvalidInput("this is no examination", hint="give what `dblog doctor … --as json` wrote") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def examination(of: str, findings: Sequence[Finding], settings: Mapping[str, str] | None = None) -> Examination:
    """Return an examination with its findings in order: the worst first, those of one check together."""
    order = {severity: rank for rank, severity in enumerate((LOST, RISK, NOTE))}
    first: dict[str, int] = {}
    for found in findings:
        first.setdefault(found.check, len(first))
    return Examination(of, tuple(sorted(findings, key=lambda found: (order[found.severity], first[found.check]))), settings or {})


@dataclass(frozen=True, slots=True)
class Drift:
    """What is not as it was at the last look: sentences.

    Attributes:
        worse: new findings, and settings that changed without one.
        better: findings that are gone.
    """

    worse: tuple[str, ...] = ()
    better: tuple[str, ...] = ()


def drift(last: Examination, now: Examination) -> Drift:
    """Return what changed from one examination to the next one of the same server or log."""
    before, after = ({found.key: found for found in look.findings} for look in (last, now))
    worse = [_new(found, before.get(key)) for key, found in after.items() if key not in before or _is_other(before[key], found)]
    better = [f"{_named(found)} is no longer found" for key, found in before.items() if key not in after]
    told = {check for check, _ in after.keys() | before.keys()}
    for name in sorted(last.settings.keys() | now.settings.keys()):
        was, is_ = last.settings.get(name, "not there"), now.settings.get(name, "not there")
        if was != is_ and name not in told:
            worse.append(f"{name} was {was or 'empty'} and is {is_ or 'empty'}")
    return Drift(tuple(worse), tuple(better))


def _is_other(was: Finding, found: Finding) -> bool:
    return (was.value, was.severity) != (found.value, found.severity)


def _new(found: Finding, was: Finding | None) -> str:
    before = f", before {was.value or was.severity}" if was else ""
    return f"{_named(found)}{before}: {found.misses}"


def _named(found: Finding) -> str:
    value = f" = {found.value}" if found.value else ""
    return f"{found.check}{f' of {found.subject}' if found.subject else ''}{value}"


def finding_lines(found: Examination) -> Iterator[str]:
    """Yield an examination as lines of text for people."""
    counts = {severity: sum(one.severity == severity for one in found.findings) for severity in (LOST, RISK, NOTE)}
    said = ", ".join(f"{count} {severity}" for severity, count in counts.items() if count)
    yield one_line(f"{found.of}: {said or 'nothing an undo would miss'}", _LINE)
    shown: dict[str, int] = {}
    for one in found.findings:
        shown[one.check] = shown.get(one.check, 0) + 1
        if shown[one.check] <= SHOWN_MAX:
            yield one_line(f"{one.severity}  {_named(one)}: {one.misses}", _LINE)
            yield from (one_line(f"      {line}", _LINE) for line in _fix(one))
    for check, count in shown.items():
        if count > SHOWN_MAX:
            yield f"… and {count - SHOWN_MAX} more of {check}: --as json"


def _fix(one: Finding) -> Iterator[str]:
    if one.fix:
        yield from [] if one.where in (SQL, ADVICE) else [f"{one.where}:"]
        yield from one.fix.splitlines()
