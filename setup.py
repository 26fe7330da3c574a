"""Builds the kernels (every cext/*.pyx); everything else stands in pyproject.toml."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

HEADERS = sorted(str(path) for path in Path("cext").glob("*.h"))

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"cext.{path.stem}",
                [str(path)],
                depends=HEADERS,
                include_dirs=["cext"],
                extra_compile_args=["-O3"],
            )
            for path in sorted(Path("cext").glob("*.pyx"))
        ],
        compiler_directives={"language_level": "3", "freethreading_compatible": True},
        build_dir="build/cython",
    )
)
