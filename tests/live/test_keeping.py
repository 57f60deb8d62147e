"""What leaves the page comes back: the link with every bit, and what a stranger's link may not do."""

import base64
import json
import struct
import zlib

import numpy as np
import pytest
from live.training import STATE, tanh_page

WORDS = "document.getElementById('say').textContent"
ALL = f"[{STATE}, session.settings, session.count, session.updates, [...session.data.x], [...session.data.y]]"
OPEN = "(fragment) => { history.replaceState(null, '', fragment); return openFragment(); }"
CHANGES = (
    "choose({ batch: 16, rate: 0.05 }); trainSteps(25); setWeight('W0', 3, -0); setWeight('W2', 1, 5e-324);"
    "setWeight('b0', 2, 1 / 3); freeze('W2', 1); movePoint(4, 0, 0.1 + 0.2); addPoint([1, -1], 1);"
)


@pytest.fixture
def page(opened_live):
    return opened_live(tanh_page())


def test_a_link_opens_the_page_as_it_was_bit_for_bit(opened_live, page):
    page.evaluate(CHANGES + "session.selected = { name: 'W0', index: 5 }")
    fragment = page.evaluate("asFragment(snapshot())")
    assert len(fragment) < 6000
    other = opened_live(tanh_page(), fragment=fragment)
    other.wait_for_selector("#say:not(:empty)")
    assert other.evaluate(ALL) == page.evaluate(ALL)
    assert other.evaluate("Object.is(session.step.state.W0[3], -0)")
    assert other.evaluate("[session.frozen.get('W2:1'), session.selected, session.rows.length]") == [
        5e-324,
        {"name": "W0", "index": 5},
        61,
    ]
    for one in (page, other):  # the batches go on in the same order
        one.evaluate("trainSteps(9)")
    assert other.evaluate(STATE) == page.evaluate(STATE)


def test_a_link_of_unchanged_rows_does_not_carry_them(page):
    page.evaluate("trainSteps(10)")
    assert page.evaluate("snapshot().data") is None
    page.evaluate("movePoint(0, 0, 5)")
    assert page.evaluate("snapshot().data.x.length") == 160


def test_numbers_that_are_not_finite_survive_a_link(page):
    page.evaluate("setWeight('W0', 0, NaN); setWeight('W0', 1, Infinity)")
    page.evaluate("asFragment(snapshot()).then(fromFragment).then(restore)")
    np.testing.assert_array_equal(page.evaluate("[...session.step.state.W0.slice(0, 2)]"), [np.nan, np.inf])


def packed(header, numbers=b"", deflate=True):
    """A fragment with any header and bytes behind it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = struct.pack("<I", len(text)) + text + numbers
    if deflate:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = packer.compress(body) + packer.flush()
    return f"#live1.{'d' if deflate else 'p'}{base64.urlsafe_b64encode(body).decode().rstrip('=')}"


def unpacked(fragment):
    body = base64.urlsafe_b64decode(fragment[len("#live1.d") :] + "===")
    body = zlib.decompress(body, -15)
    length = struct.unpack("<I", body[:4])[0]
    return json.loads(body[4 : 4 + length]), body[4 + length :]


BROKEN = {
    "of another version": "#live2.dAAAA",
    "no letters": "#live1.",
    "no base 64": "#live1.d!!!!",
    "no deflate": "#live1.dAAAAAAAA",
    "no header": packed(b"", deflate=False),
    "no JSON": packed(b"{"),
    "null": packed(b"null"),
    "a list": packed([]),
    "an empty header": packed({}),
    "many zeros": packed({}, bytes(60_000_000)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_link_says_so_and_changes_nothing(page, name):
    page.evaluate("trainSteps(10)")
    before = page.evaluate(ALL), page.evaluate("session.history")
    page.evaluate(OPEN, BROKEN[name])
    assert page.evaluate(WORDS).startswith("The link's state cannot be read (")
    assert (page.evaluate(ALL), page.evaluate("session.history")) == before


HOSTILE = {
    "a rate that is a text": lambda header: header["settings"].update(rate="1"),
    "a negative rate": lambda header: header["settings"].update(rate=-1),
    "a batch of no rows": lambda header: header["settings"].update(batch=0),
    "a seed that is no whole number": lambda header: header["settings"].update(seed=0.5),
    "an optimizer of an object's own": lambda header: header["settings"].update(optimizer="constructor"),
    "a network that is not there": lambda header: header["settings"].update(activation="__proto__"),
    "huge widths": lambda header: header["settings"].update(hidden=[10**9, 10**9]),
    "too many rows": lambda header: header["data"].update(rows=10**9),
    "fewer numbers than rows": lambda header: header["data"].update(x=10),
    "a test row that is not there": lambda header: header["data"].update(test=[500]),
    "all rows are test rows": lambda header: header["data"].update(test=[*range(81)]),
    "an array too many": lambda header: header["lengths"].append(["W9", 10]),
    "an array of another length": lambda header: header["lengths"][0].__setitem__(1, 3),
    "an array by the name of a prototype": lambda header: header["lengths"][0].__setitem__(0, "__proto__"),
    "a frozen weight outside": lambda header: header.update(frozen=[["W0:99", 1]]),
    "a selected weight outside": lambda header: header.update(selected={"name": "W9", "index": 0}),
    "an order with a row outside": lambda header: header["order"]["rows"].__setitem__(0, 99),
    "a generator of words": lambda header: header["order"]["generator"].update(state="<b>"),
    "a count of steps that is a text": lambda header: header.update(count="<img src=x onerror=alert(1)>"),
}


@pytest.fixture(scope="module")
def honest(contexts, tmp_path_factory):
    """The header and the numbers of a link that the page has written."""
    path = tmp_path_factory.mktemp("live") / "page.html"
    path.write_text(tanh_page().html, encoding="utf-8")
    page = contexts((1280, 800), "light").new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    page.evaluate(CHANGES + "trainStep()")
    fragment = page.evaluate("asFragment(snapshot())")
    page.close()
    return unpacked(fragment)


def test_what_the_tests_pack_is_what_the_page_reads(page, honest):
    page.evaluate("(fragment) => { location.hash = fragment; }", packed(*honest))
    page.wait_for_selector("#say:not(:empty)")
    assert page.evaluate("[session.settings.batch, session.count]") == [16, 26]


def test_a_hostile_link_says_so_and_changes_nothing(page, honest):
    page.evaluate("trainSteps(10)")
    before = page.evaluate(ALL), page.evaluate("session.history")
    for name, change in HOSTILE.items():
        header = json.loads(json.dumps(honest[0]))
        change(header)
        page.evaluate("fail('')")
        page.evaluate(OPEN, packed(header, honest[1]))
        assert page.evaluate(WORDS).startswith("The link's state cannot be read ("), name
        assert (page.evaluate(ALL), page.evaluate("session.history")) == before, name
