"""The page's own files: styles, which travel with the page, and JavaScript modules, which the browser loads.

Gradio serves the modules as static files, in an embedded app as in a panel of its own. An app gives no other place to a
component: its routes are made when it is launched, without a hook for what it embeds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import gradio as gr

from walltrack_alerts.ui.gradio_internals import FILE_ROUTE

FOLDER = Path(__file__).resolve().parent / "static"

MODULES_ROUTE = f"{FILE_ROUTE}{FOLDER.as_posix()}/"
"""Below the root of the app."""

MODULES_CACHE = "private, max-age=86400"
"""The bootstrap fetches them again when their version has changed."""

MODULES = tuple(sorted(path.name for path in FOLDER.glob("*.js")))

STYLE = "".join((FOLDER / name).read_text(encoding="utf-8") for name in ("panel.css", "charts.css", "targets.css", "alarm.css"))

_BOOTSTRAP = """
// Gradio runs this once per panel. Its addresses of files have no place for a version, and the browser may hold modules of
// another one: unless it has loaded this version before, every module is fetched again before main.js imports them.
const folder = new URL(props.modules_path, document.baseURI).href;
const key = 'walltrack-alerts.modules';
const version = folder + props.modules_version;
const fetched = async (name) => {
  const response = await fetch(folder + name, { cache: 'no-cache' });
  if (!response.ok) throw new Error(`${name}: HTTP ${response.status}`);
};
const isLoaded = () => {
  try {
    return localStorage.getItem(key) === version;
  } catch {
    return false; // storage is forbidden
  }
};
const start = async () => {
  try {
    if (!isLoaded()) {
      await Promise.all(props.modules.map(fetched));
      try {
        localStorage.setItem(key, version);
      } catch {
        // as above
      }
    }
    const { startPanel } = await import(`${folder}main.js`);
    element.firstElementChild.replaceChildren();
    if (element.isConnected) startPanel({ element, trigger, props, server, watch });
  } catch (error) {
    console.error(error);
    element.firstElementChild.textContent = 'The panel cannot be loaded, retrying. If this stays, reload the page.';
    if (element.isConnected) setTimeout(start, 2000);
  }
};
start();
"""


def bootstrap(events: Iterable[str]) -> str:
    """The script of the component. Gradio knows an event by its name in quotes, here in a comment."""
    return f"// Events: {', '.join(map(repr, events))}{_BOOTSTRAP}"


gr.set_static_paths([FOLDER])


def modules_path() -> str:
    """Where the page finds the modules, relative to its root."""
    return quote(MODULES_ROUTE.removeprefix("/"), safe="/=:")


def modules_version() -> str:
    """A hash of the modules."""
    return hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in MODULES)).hexdigest()[:16]


def is_module(route: str) -> bool:
    """Whether a route below the root of the app is one of the modules."""
    return route.startswith(MODULES_ROUTE) and route.removeprefix(MODULES_ROUTE) in MODULES
