"""Builds the kernels; everything else stands in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    ext_modules=cythonize(
        [Extension("cext.gear", ["cext/gear.pyx"], extra_compile_args=["-O3"])],
        compiler_directives={"language_level": "3", "freethreading_compatible": True},
        build_dir="build/cython",
    )
)
