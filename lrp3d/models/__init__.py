"""Sends `import lrp3d.models` to the folder `models/` of a checkout, which lies beside this package.

In an installation the files of `models/` are in this very place and this file is not there (`package_dir` in
setup.cfg). Type checkers do not run this, so the stubs beside this file tell them the same, one for each module of
`models/`.
"""

import importlib.util
import sys
from pathlib import Path

_FOLDER = Path(__file__).absolute().parents[2] / "models"
_spec = importlib.util.spec_from_file_location(
    __name__, _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)]
)
if _spec is None or _spec.loader is None:
    raise ImportError(f"{_FOLDER} is no Python package", name=__name__)
# Whoever imports `lrp3d.models` gets what stands in sys.modules when this file is done.
sys.modules[__name__] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules[__name__])
