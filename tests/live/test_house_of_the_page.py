"""The page's files: the README lists them and the keys of the content, and each function that is called exists."""

import re
from pathlib import Path

from live.test_offers import content as content_of
from live.training import tanh_page

import tinygrad_ce.live as package
from tinygrad_ce.views import browser

LIVE = Path(package.__file__).parent
README = (LIVE / "README.md").read_text(encoding="utf-8")
SCRIPTS = [*sorted((LIVE / "page").glob("*.js")), *sorted(Path(browser.__file__).parent.glob("*.js"))]


def test_the_readme_lists_every_file_of_the_page():
    files = {path.name for path in (LIVE / "page").iterdir() if path.suffix in (".js", ".css", ".html")}
    assert {name for name in files if f"`{name}`" not in README} == set()


def test_the_readme_lists_every_key_of_the_content():
    content = content_of(tanh_page())
    moment = content["moments"]["list"][0]
    keys = {*content, *content["data"], *content["settings"], *content["moments"], *moment, *moment["states"][0]}
    keys |= {key for network in content["networks"].values() for key in network}
    keys |= {*content["offered"], *content["audit"]}
    words = {*re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", README)))}
    assert keys - words == set()


def code_of(path):
    """A script without its comments, texts and regular expressions; what stands in ${} remains."""
    text = re.sub(r"(?:^|(?<=\s))//[^\n]*|/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    text = re.sub(
        r"\"(\\.|[^\"\\\n])*\"|'(\\.|[^'\\\n])*'|(?<=[(=:,] )/(\\.|[^/\\\n])+/[a-z]*|(?<=\()/(\\.|[^/\\\n])+/[a-z]*",
        '""',
        text,
    )
    return re.sub(r"`[^`]*`", lambda found: " ".join(re.findall(r"\$\{([^{}]*)\}", found[0])), text)


OF_JAVASCRIPT = {"if", "for", "while", "switch", "catch", "return", "super", "function", "async", "of", "constructor"}


def undefined(scripts):
    """By name, the script that calls a function which no script defines, nor JavaScript's syntax."""
    codes = {path.name: code_of(path) for path in scripts}
    everything = "\n".join(codes.values())
    calls = r"(?<![.\w$])([A-Za-z_$][\w$]*)\("
    called = {name: file for file, code in codes.items() for name in re.findall(calls, code)}
    defined = {*re.findall(r"(?:(?:function\*?|class|const|let) |, )([\w$]+)(?=[\s(;=])", everything)}
    defined.update(re.findall(r"(?m)^ +(?:static )?([\w$]+)\([^\n]*?\) \{", everything))  # methods
    patterns = r"(?:const|let) [\[{]([^=]*?)[\]}] (?:=|of)|\(([^()\n]*)\) (?:=>|\{)"  # taken apart, and parameters
    for found in re.findall(patterns, everything):
        defined.update(re.findall(r"[\w$]+", " ".join(found)))
    return {name: file for name, file in called.items() if name not in defined | OF_JAVASCRIPT}


def test_each_function_that_a_script_calls_is_defined_in_one_of_them(opened_html, tmp_path):
    misspelt = tmp_path / "misspelt.js"
    misspelt.write_text("const drawAll = () => redrawn(session); // thisIsText()", encoding="utf-8")
    left = undefined([*SCRIPTS, misspelt])
    page = opened_html("<!doctype html><html lang=en><title>empty</title>", (400, 300))
    unknown = page.evaluate("(names) => names.filter((name) => !(name in window))", [*left])
    assert {name: left[name] for name in unknown} == {"redrawn": "misspelt.js"}
