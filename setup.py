"""How the package is built: plain Python, or with SPENDGATE_COMPILE=1 the hot modules compiled beside their sources.

pyproject.toml holds all else, the list of those modules too (``tool.spendgate.compiled``). Cython compiles them as they
are, with Python's own meaning; no annotation is taken for a type. What a ``.pxd`` beside a module declares are its
classes' fields and the methods that are called from module to module: they need no look-up then. Other attributes are
found again where they lay the last time (``gateway/compiled.h``).

``SPENDGATE_PROFILE`` (gcc alone): ``make`` counts how often each branch is taken while the modules run, ``use`` has the
compiler lay them out by those counts. ``deploy/compile.py`` does one after the other.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path

from setuptools import Extension, setup

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,
    "infer_types": False,
    "binding": True,
    "nonecheck": True,  # None where an object was declared raises, as it does in Python
}
SITES = "gateway/compiled.h"
PROFILE = {
    # what is left out changes no count, and takes a third of the time
    "make": "-fprofile-generate -fprofile-update=single -fno-tree-pre -fno-gcse -fno-schedule-insns2 "
    "-fno-tree-dominator-opts -fno-tree-slp-vectorize -fno-crossjumping",
    # a function that has changed since it was counted is compiled without
    "use": "-fprofile-use -fprofile-correction -Wno-coverage-mismatch",
}
PLACES = {
    r"(?<= = )__Pyx_PyObject_GetAttrStr\(": "SITE_READ(",
    r"(?<= = )__Pyx_PyObject_FastCallMethod\(": "SITE_CALL(",
    r"(?<=if \()__Pyx_PyObject_SetAttrStr\(": "SITE_WRITE(",
}


def extensions() -> list[Extension]:
    """The modules to compile; none in a plain build, and none in an editable one, where the sources must count."""
    if os.environ.get("SPENDGATE_COMPILE") != "1" or "editable_wheel" in sys.argv:
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        raise SystemExit("SPENDGATE_COMPILE=1 needs Cython: pip install cython") from None
    modules = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["spendgate"]["compiled"]
    profile = os.environ.get("SPENDGATE_PROFILE", "")
    flags = ["-O2", "-g0", "-w", "-include", SITES, *PROFILE.get(profile, "").split()]
    how = {
        "depends": [SITES],
        "extra_compile_args": flags,
        "extra_link_args": ["-fprofile-generate"] if profile == "make" else [],
    }
    chosen = [Extension(name, [source_of(name)], **how) for name in modules]
    made: list[Extension] = cythonize(chosen, build_dir="build/cython", compiler_directives=DIRECTIVES, quiet=True)
    for extension in made:
        for source in extension.sources:
            remembering(Path(source))
    return made


def source_of(module: str) -> str:
    """The source to compile: one that says in C's types what the plain one says in Python's, where there is one."""
    path = module.replace(".", "/")
    return f"{path}.pyx" if Path(f"{path}.pyx").exists() else f"{path}.py"


def remembering(source: Path) -> None:
    """Have each place of C code that reads or sets an attribute or calls a method remember where it was found."""
    text = source.read_text()
    found = text
    for call, site in PLACES.items():
        found = re.sub(call, site, found)
    if found != text:
        source.write_text(found)


setup(ext_modules=extensions(), options={"build_ext": {"parallel": os.cpu_count() or 1}})
