"""The manual, built by Sphinx: python -m sphinx -W -n docs docs/_build."""

import importlib.metadata
import os
import warnings

os.environ.setdefault("MPLBACKEND", "Agg")

project = "fastclf"
author = "The fastclf developers"
release = version = importlib.metadata.version("fastclf")
copyright = author

extensions = [
    "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx-mathjax-offline", "numpydoc", "myst_nb",
    "sphinx_gallery.gen_gallery",
]  # fmt: skip
templates_path = ["_templates"]
# The gallery is written as pages, scripts and notebooks: the pages are what is built.
exclude_patterns = [
    "_build", "_templates", "gallery", "examples/*.ipynb", "**/sg_execution_times.rst", "sg_execution_times.rst",
]  # fmt: skip

html_theme = "pydata_sphinx_theme"
html_title = "fastclf"
html_theme_options = {"navigation_with_keys": False, "show_toc_level": 2, "secondary_sidebar_items": ["page-toc"]}
html_sidebars = {"*": []}  # pages without pages below them
html_show_sourcelink = False

# Pages are Markdown. The notebook is shown as it was executed: the tests execute it.
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"

# The gallery is executed here, every file of it.
sphinx_gallery_conf = {
    "examples_dirs": ["gallery"],
    "gallery_dirs": ["examples"],
    "filename_pattern": r".*\.py",
    "plot_gallery": True,
    "abort_on_example_error": True,
    "show_memory": False,
    "download_all_examples": False,
    "within_subsection_order": "FileNameSortKey",
    "min_reported_time": 60,
    "copyfile_regex": r".*\.csv",
}
warnings.filterwarnings("ignore", category=UserWarning, message=".*non-interactive.*")

# Names of ours must be found; those of other libraries are not looked up, so that a build needs no network.
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say more
autodoc_inherit_docstrings = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!fastclf).*")]
suppress_warnings = ["mystnb.unknown_mime_type"]


def is_scikit_learns(app, what, name, obj, skip, options):
    """Leave out what a class has from scikit-learn, whose manual describes it; its links would lead nowhere here."""
    if name.startswith("set_") and name.endswith("_request"):
        return True
    return True if str(getattr(obj, "__module__", "")).startswith("sklearn.") else None


def setup(app):
    app.connect("autodoc-skip-member", is_scikit_learns)
