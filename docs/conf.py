"""How Sphinx builds the manual: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "ext")]

import remotevirt  # noqa: E402 - the manual describes the package beside it, installed or not

project = "remotevirt"
author = "the remotevirt authors"
copyright = "the remotevirt authors"
version = release = remotevirt.__version__

extensions = ["facts", "settings", "procedures", "observe", "permissions"]
exclude_patterns = ["_build", "ext", "examples"]
nitpicky = True
highlight_language = "none"

html_theme = "furo"
html_title = "remotevirt"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_sphinx = False
