"""The site is built without a warning and without a network, says what the pages say, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from pymdownx.slugs import slugify

from doc_tools.blocks import ROOT, pages
from doc_tools.site import COPIED, Place

REPOSITORY = "https://git.example/owner/name"
LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=[\"']?([^\"'\s>]+)|<link\b[^>]*>"
)
CHECKED = [*pages(), *(name for name in COPIED if name != "CONTRIBUTING.md" and name != "README.md")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"JUNKDNA_REPOSITORY": f"{REPOSITORY}.git", "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_the_site_is_whole_and_its_own(site: Path) -> None:
    foreign = []
    for page in site.rglob("*.html"):
        for tag in LOADED.finditer(page.read_text(encoding="utf-8")):
            link = re.search(r"href=[\"']?([^\"'\s>]+)", tag[0])
            address = tag[1] or (link[1] if link and "canonical" not in tag[0] else "")
            if re.match(r"(?:[a-z]+:)?//", address):
                foreign.append(f"{page.relative_to(site)}: {tag[0][:200]}")
    for style in site.rglob("*.css"):
        found = re.findall(
            r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", style.read_text(encoding="utf-8")
        )
        foreign += [f"{style.relative_to(site)}: {address}" for address in found]
    assert not foreign
    assert f'href="{REPOSITORY}/blob/main/action.yml"' in (site / "gate.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_lists_tables_and_blocks_are_those_of_the_repository(site: Path) -> None:
    markdown = MarkdownIt("commonmark").enable("table")
    other = []
    for page in pages():
        if not page.startswith("docs/") or page == "docs/reference/api.md":
            continue
        html = (site / page.removeprefix("docs/")).with_suffix(".html").read_text(encoding="utf-8")
        (article,) = re.findall(r"<article.*?</article>", html, re.S)
        kinds = [token.type for token in markdown.parse((ROOT / page).read_text(encoding="utf-8"))]
        for kind, tag in (("table_open", "<table"), ("list_item_open", "<li>"), ("fence", "<pre")):
            if kinds.count(kind) != article.count(tag):
                other.append(
                    f"{page}: {kinds.count(kind)} {kind}, but {article.count(tag)} {tag} on the site"
                )
    assert not other


def _links(page: str) -> Iterator[tuple[str, str]]:
    """Every relative link of a page, as file and anchor."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        for inner in token.children or []:
            address = str(inner.attrs.get("href") or inner.attrs.get("src") or "")
            if address and not re.match(r"[a-z]+:", address):
                file, _, anchor = address.partition("#")
                yield os.path.normpath(Path(page).parent / file) if file else page, anchor


def _anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    tokens = MarkdownIt("commonmark").parse((ROOT / page).read_text(encoding="utf-8"))
    slug = slugify(case="lower")
    found: set[str] = set()
    for before, token in zip(tokens, tokens[1:], strict=False):
        if before.type == "heading_open":
            words = "".join(
                inner.content for inner in token.children or [] if inner.type in {"text", "code_inline"}
            )
            name = base = str(slug(words, "-"))
            number = 0
            while name in found:
                number += 1
                name = f"{base}-{number}"
            found.add(name)
    return found


@pytest.mark.parametrize("page", CHECKED)
def test_links_lead_somewhere(page: str) -> None:
    wrong = [f"{file}#{anchor}" for file, anchor in _links(page) if not (ROOT / file).exists() or (anchor and anchor not in _anchors(file))]  # fmt: skip
    assert not wrong


def test_a_link_out_of_docs_becomes_a_page_an_address_or_text() -> None:
    place = Place()
    place.page = "quickstart/shipping.md"
    assert place.turned("../../CHANGELOG.md#0-1") == "../project/changelog.md#0-1"
    assert place.turned("../gate.md#in-ci") == "../gate.md#in-ci"
    assert place.turned("https://a.example/b") == "https://a.example/b"
    assert place.turned("../nothing.md") == "../nothing.md"  # mkdocs says so
    assert place.turned("../../action.yml") is None
    place.repository = REPOSITORY
    assert place.turned("../../tests#x") == f"{REPOSITORY}/tree/main/tests#x"
    place.page = "project/contributing.md"
    assert place.turned("docs/gate.md") == "../gate.md"
