"""The compiled parts of the package. Optional: where they cannot be compiled, the package is whole without them, and slower."""

from setuptools import Extension, setup

FOLDER = "dblog_tasks/mysql"
NATIVE = [f"{FOLDER}/{name}.c" for name in ("_native", "_native_frames", "_native_json", "_native_plain", "_native_values")]

setup(
    ext_modules=[
        Extension("dblog_tasks.mysql._native", NATIVE, depends=[f"{FOLDER}/_native.h"], optional=True),
        Extension("dblog_tasks.mysql._sql", [f"{FOLDER}/_sql.c"], optional=True),
    ]
)
