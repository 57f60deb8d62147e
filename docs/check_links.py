"""Links and pictures of the built site that lead nowhere: `python docs/check_links.py docs/_build` lists them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ADDRESSES = ("href", "src", "poster", "data-src")


class Links(HTMLParser):
    """The addresses in a page, and the places in it that an address can name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[tuple[str, bool]] = []  # and whether a browser loads it with the page
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        loaded = tag != "a" and (tag != "link" or ("rel", "stylesheet") in attributes)
        for name, value in attributes:
            if name in ADDRESSES and value is not None:
                self.addresses.append((value, loaded))
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken_links(site: Path) -> Iterator[str]:
    """A line for each address that leads nowhere, or that a page would fetch from a network."""
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in sorted(site.resolve().rglob("*.html"))}
    for page, links in pages.items():
        for address, loaded in links.addresses:
            parts = urlsplit(address)
            where = f"{page.relative_to(site.resolve())}: {address}"
            if parts.scheme or parts.netloc:
                if loaded and parts.scheme != "data":
                    yield f"{where}: it comes from a network"
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.exists():
                yield f"{where}: there is no such file"
            elif target in pages and parts.fragment and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{where}: that page has no such place"


def main() -> None:
    """Say what is broken, and how much was looked at."""
    site = Path(sys.argv[1])
    found = [*broken_links(site)]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(found)} broken links in {len([*site.rglob('*.html')])} pages")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
