"""How the site is built: `python -m sphinx -W --keep-going -b html docs docs/_build`. It fetches nothing."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import gallery  # noqa: E402
import lesson_pictures  # noqa: E402
import live_pages  # noqa: E402

import tinygrad_ce as tg  # noqa: E402

project = "tinygrad_ce"
author = copyright = "the tinygrad_ce authors"
version = release = tg.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "mathml",
    "reference",
]
exclude_patterns = ["_build", "**/README.md", "**/GALLERY_HEADER.rst"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["config.cache"]  # the functions below cannot be pickled; they do not change between two builds

default_role = "code"
smartquotes = False  # what is quoted is code more often than not, and --out has two hyphens
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True

tg.live  # noqa: B018 (Sphinx asks for it by its name; from now on it is the function)

gallery.write_sources(HERE.parent / "examples", HERE / "_examples")
sphinx_gallery_conf = {
    "examples_dirs": "_examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": (gallery.files_that_are_written,),
    "reset_modules": (gallery.as_in_a_new_process,),
    "plot_gallery": "True",
    "abort_on_example_error": True,
    "show_memory": False,
    "min_reported_time": 1e9,  # seconds: no times on the pages
    "write_computation_times": False,
    "show_signature": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "nested_sections": False,
    "capture_repr": (),
    "default_thumb_file": str(HERE / "_examples" / "thumbnail.png"),
}

html_theme = "furo"
html_title = "tinygrad_ce"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # it is fetched from each page, which a browser refuses to a site on the disk
BRAND = ("color-brand-primary", "color-brand-content", "color-brand-visited", "color-api-name")
html_theme_options = {
    "light_css_variables": dict.fromkeys(BRAND, "#0b62c4"),
    "dark_css_variables": dict.fromkeys(BRAND, "#79b8ff"),
}

# What an example has written while it ran, as pages/NAME, and the live pages of the lessons, as live/NAME.
html_extra_path = [live_pages.write_live_pages(HERE / "_pages")]
lesson_pictures.write_pictures(HERE / "lessons" / "pictures")
