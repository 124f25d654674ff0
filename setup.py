"""The compiled part of the package. Optional: where it cannot be compiled, the package is whole without it, and slower."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("dblog_tasks.mysql._native", ["dblog_tasks/mysql/_native.c"], optional=True)])
