"""Checks the site that Sphinx wrote into a folder: every link leads to a page and a place in it, nothing is loaded from
elsewhere, and the API reference has every public name. Sphinx itself checks the links of the sources."""

from __future__ import annotations

import inspect
import re
import sys
import urllib.parse
import zlib
from html.parser import HTMLParser
from pathlib import Path
from pkgutil import resolve_name

# What a browser fetches without being asked to, by tag. Of <link> only these kinds: others are hints to search engines.
FETCHED = {
    "audio": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
}
KINDS = {"icon", "modulepreload", "preload", "stylesheet"}
REMOTE = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """The links of a page, what it fetches, and the places that links can lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        address = given.get(FETCHED.get(tag, ""))
        if address and (tag != "link" or KINDS & set(given.get("rel", "").split())):
            self.fetched.append(address)


def bad_links(folder: Path) -> list[str]:
    """The links and files that are not there, and what is fetched from elsewhere."""
    pages = {path.resolve(): Page(path) for path in folder.rglob("*.html")}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve()).as_posix()
        for address in page.links + page.fetched:
            parts = urllib.parse.urlsplit(address)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if address in page.fetched:
                    found.append(f"{name} fetches {address}")
                continue
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            place = urllib.parse.unquote(parts.fragment)
            if not target.is_file() or (place and target in pages and place not in pages[target].places):
                found.append(f"{name} links to {address}, which is not there")
    for path in folder.rglob("*.css"):
        remote = REMOTE.findall(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(folder).as_posix()} fetches {address}" for address in remote]
    return found


def documented(inventory: Path) -> set[str]:
    """The Python names in a Sphinx inventory: four lines of text, then compressed lines "name domain:role …"."""
    lines = zlib.decompress(inventory.read_bytes().split(b"\n", 4)[4]).decode().splitlines()
    return {name for name, role, *_ in map(str.split, lines) if role.startswith("py:")}


def missing(public: dict[str, object], names: set[str]) -> list[str]:
    """The public names that the reference lacks. It may have the same function or class by another name, and a method
    as that of a base class which it overrides."""
    things = {id(thing) for thing in map(_found, names) if callable(thing) or inspect.isdatadescriptor(thing)}
    return sorted(
        name
        for name, thing in public.items()
        if name not in names and id(thing) not in things and not names & _overridden(name)
    )


def _found(name: str) -> object:
    """What has this name; None for a module, and for what is described without being there."""
    home, _, last = name.rpartition(".")
    try:
        return inspect.getattr_static(resolve_name(home), last)
    except (AttributeError, ImportError, ValueError):
        return None


def _overridden(name: str) -> set[str]:
    """The names of a method in the base classes of its class."""
    home, _, last = name.rpartition(".")
    return {f"{base.__module__}.{base.__qualname__}.{last}" for base in getattr(resolve_name(home), "__mro__", ())}


def main(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from public_names import public_names

    found = bad_links(folder)
    found += [f"the API reference lacks {name}" for name in missing(public_names(), documented(folder / "objects.inv"))]
    if found:
        raise SystemExit("\n".join(found))
    print(f"the docs are in {folder / 'index.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
