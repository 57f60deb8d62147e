"""The film of a network that learns: it is made anew, and is small, well formed, and stands still for who asks so."""

import re
import runpy
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_film_is_small_and_whole_and_its_network_learns(tmp_path):
    path = tmp_path / "film.svg"
    subprocess.run([sys.executable, DOCS / "film.py", path], check=True, capture_output=True)
    for film in (path, DOCS / "images" / "learning.svg"):
        assert film.stat().st_size < 1_000_000
        root = ET.parse(film).getroot()
        frames = [g for g in root.iter(f"{SVG}g") if "frame" in g.get("class", "")]
        said = [" ".join(text.text for text in frame.iter(f"{SVG}text")) for frame in frames]
        losses = [float(re.search(r"loss ([\d.]+)", words)[1]) for words in said]
        assert len(losses) > 20
        assert losses[-1] < 0.1 < np.log(2) * 0.9 < losses[0]
        assert [frame.get("class") for frame in frames].count("frame last") == 1
        style = root.findtext(f"{SVG}style")
        assert "prefers-reduced-motion" in style
        assert "infinite" in style


def test_the_dashed_line_of_the_film_is_ln_2():
    film = runpy.run_path(str(DOCS / "film.py"))
    svg = (DOCS / "images" / "learning.svg").read_text(encoding="utf-8")
    height = float(re.search(r'class="chance" d="M330,([\d.]+)H', svg)[1])
    zero, one = film["curve_y"](0.0), film["curve_y"](1.0)
    assert abs((height - zero) / (one - zero) - np.log(2)) < 1e-3
