"""What an undo would miss today, every hour: of a database server, of its logs, or both; what got worse since the last run fails.

Order only; the verbs are tasks, and what a run ends as stands in `dblog_tasks.doctor_tasks`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.states import Completed, Failed
from pydantic import Field

from dblog_tasks import doctor_tasks, tasks
from dblog_tasks.doctor_tasks import DRIFTED, FLOW, DoctorJob
from dblog_tasks.errors import DblogError
from dblog_tasks.settings import read_settings
from dblog_tasks.targets import NAMED

SERVER = rf"^{NAMED}?$"


@flow(name=FLOW, flow_run_name="doctor-{source}", persist_result=True, result_serializer="json", validate_parameters=True)
def doctor(
    source: Annotated[str, Field(min_length=1, max_length=200)],
    target: Annotated[str, Field(pattern=SERVER)] = "",
    logs: list[str] = [],  # noqa: B006 - never changed
    driver: Literal["mysql", "pg", "redis"] = "mysql",
    schema_url: str = "",
    storage_options: tuple[str, ...] = (),
    keep_days: Annotated[float, Field(gt=0, le=3660)] = 7,
) -> Any:
    """Say what an undo would miss today, with the statement that helps; fail when it is more than at the last run.

    Args:
        source: Name of whose log it is. Runs of one source are compared with each other.
        target: The server to ask. block:NAME of a Database target, env:NAME of the worker, or a DSN
            without a password: mysql://user@host/shop, postgresql://user@host/shop.
        logs: Logs to read instead or as well: folders, files or globs at any URL.
        driver: What wrote the logs. mysql stands for MariaDB too, redis for Valkey.
        schema_url: File of CREATE TABLE statements, where the logs do not name columns. A DSN only as env:VARIABLE.
        storage_options: For the store of the logs, NAME=VALUE; a secret only as NAME=env:VARIABLE, which is looked up where the run runs.
        keep_days: How long the server's log should be kept, in days.
    """
    job = DoctorJob(source, target, tuple(logs), driver, schema_url, tuple(storage_options), keep_days)
    try:
        last = doctor_tasks.begin(job)
        settings = read_settings()
        parts = [tasks.retried(doctor_tasks.examine_database, settings)(job)] if target else []
        parts += [tasks.retried(doctor_tasks.examine_logs, settings)(job)] if logs else []
        now = doctor_tasks.together(source, parts)
        name, message, changed, data = doctor_tasks.outcome(job, last, now)
        doctor_tasks.show(job, now, changed)
        return (Failed if name == DRIFTED else Completed)(name=name, message=message, data=data)
    except DblogError as error:
        return Failed(message=str(error), data=error)
