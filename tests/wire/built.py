"""Modules of the compiled build, beside the sources that the tests import."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from gateway.compiled import is_current

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "compiled"


def compiled(name: str) -> ModuleType:
    """A module as it is compiled; without a build of these sources the test is skipped."""
    path = (BUILT / name.replace(".", "/")).with_suffix(str(sysconfig.get_config_var("EXT_SUFFIX")))
    if not path.exists() or not is_current(ROOT, BUILT):
        pytest.skip("no compiled build")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
