"""The compiled part of the package. Optional: where it cannot be compiled, the package is whole without it, and slower."""

from setuptools import Extension, setup

FOLDER = "dblog_tasks/mysql"
SOURCES = [f"{FOLDER}/{name}.c" for name in ("_native", "_native_frames", "_native_json", "_native_values")]

setup(ext_modules=[Extension("dblog_tasks.mysql._native", SOURCES, depends=[f"{FOLDER}/_native.h"], optional=True)])
