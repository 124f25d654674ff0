"""The compiled parts of the package, and the files that `dblog init` writes.

The compiled parts are optional: where they cannot be compiled, the package is whole without them, and slower. The files are those that a
checkout uses itself; a wheel holds a copy below the package, so that there is one text of each.
"""

from ast import literal_eval
from pathlib import Path
import re
from shutil import copyfile

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

FOLDER = "dblog_tasks/mysql"
NATIVE = [f"{FOLDER}/{name}.c" for name in ("_native", "_native_frames", "_native_json", "_native_plain", "_native_values")]

FILES = literal_eval(re.search(r"^FILES = (\(.*?^\))", Path("dblog_tasks/project.py").read_text(), re.DOTALL | re.MULTILINE)[1])


class BuildWithProject(build_py):
    """The modules, and the files of a project."""

    def run(self) -> None:
        """Copy the files beside the modules."""
        super().run()
        if self.editable_mode:
            return
        for name in FILES:
            to = Path(self.build_lib, "dblog_tasks", "project_files", name)
            to.parent.mkdir(parents=True, exist_ok=True)
            copyfile(name, to)


setup(
    cmdclass={"build_py": BuildWithProject},
    ext_modules=[
        Extension("dblog_tasks.mysql._native", NATIVE, depends=[f"{FOLDER}/_native.h"], optional=True),
        Extension("dblog_tasks.mysql._sql", [f"{FOLDER}/_sql.c"], optional=True),
        Extension("dblog_tasks.postgres._plain", ["dblog_tasks/postgres/_plain.c"], optional=True),
    ],
)
