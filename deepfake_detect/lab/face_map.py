"""A map of faces as a page that needs no other file: zoom, move, hover, color by what is known."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.transforms import resize_square
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.report.page import page, paragraph, write_text

_SIDE = 56  # of a thumbnail in pixels
_JPEG_QUALITY = 78
_GRAY = 200
MOST_FACES = 20_000  # the sheet of thumbnails stays below the 16,384 pixels that browsers draw


def read_thumbnails(root: Path, paths: Sequence[str]) -> np.ndarray:
    """Return crops as RGB uint8 (N, 56, 56, 3); one that cannot be read is gray.

    Args:
        root: Folder that the paths are relative to.
        paths: Of the crops.
    """
    thumbnails = np.full((len(paths), _SIDE, _SIDE, 3), _GRAY, np.uint8)
    for number, path in enumerate(paths):
        try:
            thumbnails[number] = resize_square(read_crop(root / path), _SIDE)
        except ManifestError:
            continue  # a map of all others is worth more than none
    return thumbnails


def write_face_map(
    path: Path,
    places: np.ndarray,
    thumbnails: np.ndarray,
    columns: Mapping[str, Sequence[str]],
    *,
    title: str,
    note: str = "",
) -> None:
    """Write the page, atomically.

    Args:
        path: HTML file.
        places: float (N, 2), finite.
        thumbnails: RGB uint8 (N, S, S, 3).
        columns: Texts (N,) by name, shown beside a face; the map can be colored by each, the nine
            most frequent values apart. The first colors it to begin with.
        title, note: Plain text.

    Raises:
        OptionError: Arrays of unequal length, no column, no face or more than 20,000.

    Example:
        >>> import tempfile
        >>> page_path = Path(tempfile.mkdtemp()) / "map.html"
        >>> faces = np.zeros((2, 8, 8, 3), np.uint8)
        >>> write_face_map(page_path, np.eye(2), faces, {"label": ["real", "fake"]}, title="Two faces")
        >>> "Two faces" in page_path.read_text()
        True
    """
    count = len(places)
    if not 1 <= count <= MOST_FACES:
        raise OptionError("map", f"would show {count:,} faces", f"choose 1 to {MOST_FACES:,}")
    lengths = {len(thumbnails), *(len(values) for values in columns.values())}
    if not columns or lengths != {count} or places.shape != (count, 2) or not np.isfinite(places).all():
        raise OptionError("map", "has places, faces and columns that do not fit", "pass one of each a face")
    sheet, num_columns = _sheet(thumbnails)
    data = {
        "places": np.round(_to_unit(places), 5).tolist(),
        "side": thumbnails.shape[1],
        "perRow": num_columns,
        "columns": {name: [str(value) for value in values] for name, values in columns.items()},
    }
    # In a script "</" would end it and "<!--" might keep it from ending, whatever the quotes around it.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = [
        f"<style>{_STYLE}</style>",
        paragraph(note, kind="small") if note else "",
        _CONTROLS.replace("OPTIONS", "".join(f"<option>{escape(name)}</option>" for name in columns)),
        f'<img id="sheet" alt="" hidden src="data:image/jpeg;base64,{base64.b64encode(sheet).decode()}">',
        f'<script type="application/json" id="data">{text}</script>',
        f"<script>{_SCRIPT}</script>",
    ]
    write_text(path, page(title, parts))


def _to_unit(places: np.ndarray) -> np.ndarray:
    """Move places into the unit square, with one scale for both directions."""
    low, high = places.min(0), places.max(0)
    scale = max(float((high - low).max()), 1e-12)
    unit: np.ndarray = (places - (low + high) / 2) / scale + 0.5
    return unit


def _sheet(thumbnails: np.ndarray) -> tuple[bytes, int]:
    """Return all thumbnails side by side as JPEG, and how many stand in a row."""
    count, side = thumbnails.shape[:2]
    num_columns = math.ceil(math.sqrt(count))
    num_rows = math.ceil(count / num_columns)
    cells = np.full((num_rows * num_columns, side, side, 3), _GRAY, np.uint8)
    cells[:count] = thumbnails
    grid = cells.reshape(num_rows, num_columns, side, side, 3).swapaxes(1, 2)
    picture = np.ascontiguousarray(grid.reshape(num_rows * side, num_columns * side, 3))
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    return data.tobytes(), num_columns


_STYLE = """
body { max-width: none; }
#map { width: 100%; height: 78vh; border: 1px solid #ddd; border-radius: .3rem; touch-action: none;
       cursor: grab; display: block; }
#bar { display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; align-items: center; margin: .5rem 0; }
#legend { display: flex; flex-wrap: wrap; gap: .2rem .9rem; font-size: .86rem; }
#legend button { border: 0; background: none; padding: 0; font: inherit; cursor: pointer; }
#legend button.off { opacity: .35; text-decoration: line-through; }
#legend i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .3em; }
#card { position: fixed; display: none; pointer-events: none; background: #fff; border: 1px solid #bbb;
        border-radius: .3rem; padding: .4rem; font-size: .82rem; line-height: 1.35; max-width: 18rem;
        overflow-wrap: anywhere; box-shadow: 0 2px 8px #0003; z-index: 2; }
#card canvas { display: block; width: 140px; height: 140px; margin-bottom: .3rem; }
"""

_CONTROLS = """<div id="bar">
<label>color <select id="by">OPTIONS</select></label>
<label><input type="checkbox" id="faces"> show faces</label>
<button type="button" id="home">whole map</button><span id="legend"></span></div>
<canvas id="map" tabindex="0" aria-label="map of faces"></canvas>
<div id="card"><canvas width="140" height="140"></canvas><div></div></div>"""

_SCRIPT = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const el = id => document.getElementById(id);
const sheet = el("sheet"), map = el("map"), by = el("by"), card = el("card"), pen = map.getContext("2d");
const COLORS = ["#3366cc", "#d9480f", "#2b8a3e", "#9c36b5", "#e6a700", "#0b7285", "#c2255c", "#5f3dc4",
                 "#74b816"];
const OTHER = "#9aa0a6";
let view = {x: 0.5, y: 0.5, zoom: 1}, colorOf = [], hidden = new Set(), grabbed = null, hovered = -1;
const touches = new Map();
let pinched = 0;

function recolor() {
  const values = data.columns[by.value], counts = new Map();
  values.forEach(value => counts.set(value, (counts.get(value) || 0) + 1));
  const ranked = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const named = ranked.length > COLORS.length + 1 ? ranked.slice(0, COLORS.length) : ranked;
  const colors = new Map(named.map(([value], n) => [value, COLORS[n] || OTHER]));
  hidden = new Set();
  colorOf = values.map(value => colors.get(value) || OTHER);
  const legend = el("legend");
  legend.replaceChildren(...named.map(([value, count]) => item(colors.get(value), value, count, true)));
  if (named.length < ranked.length) {
    const rest = ranked.slice(named.length).reduce((sum, one) => sum + one[1], 0);
    legend.append(item(OTHER, `${ranked.length - named.length} others`, rest, false));
  }
  draw();
}

function item(color, value, count, isOne) {
  const button = document.createElement("button"), dot = document.createElement("i");
  dot.style.background = color;
  button.append(dot, `${value || "unknown"} (${count.toLocaleString("en")})`);
  const key = isOne ? value : null;
  if (isOne) button.onclick = () => {
    hidden.has(key) ? hidden.delete(key) : hidden.add(key);
    button.classList.toggle("off");
    draw();
  };
  return button;
}

function scale() { return Math.min(map.clientWidth, map.clientHeight) * 0.94 * view.zoom; }
function placeOf(n) {
  const s = scale(), [x, y] = data.places[n];
  return [(x - view.x) * s + map.clientWidth / 2, (y - view.y) * s + map.clientHeight / 2];
}
function isShown(n) { return !hidden.has(data.columns[by.value][n]); }
function faceSide() { return Math.max(14, Math.min(90, 13 * Math.sqrt(view.zoom) + view.zoom)); }

function drawFace(context, n, left, top, side) {
  const column = n % data.perRow, row = Math.floor(n / data.perRow);
  context.drawImage(sheet, column * data.side, row * data.side, data.side, data.side, left, top, side, side);
}

function draw() {
  const ratio = window.devicePixelRatio || 1, width = map.clientWidth, height = map.clientHeight;
  map.width = width * ratio;
  map.height = height * ratio;
  pen.scale(ratio, ratio);
  const side = faceSide(), radius = Math.min(7, 2.6 + Math.sqrt(view.zoom) * 0.6);
  for (let n = 0; n < data.places.length; n++) {
    if (!isShown(n)) continue;
    const [x, y] = placeOf(n);
    if (x < -side || y < -side || x > width + side || y > height + side) continue;
    if (el("faces").checked) {
      pen.fillStyle = colorOf[n];
      pen.fillRect(x - side / 2 - 2, y - side / 2 - 2, side + 4, side + 4);
      drawFace(pen, n, x - side / 2, y - side / 2, side);
    } else {
      pen.globalAlpha = 0.8;
      pen.fillStyle = colorOf[n];
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      pen.fill();
      pen.globalAlpha = 1;
    }
  }
  if (hovered >= 0) {
    const [x, y] = placeOf(hovered);
    pen.lineWidth = 2;
    pen.strokeStyle = "#111";
    pen.strokeRect(x - side / 2 - 3, y - side / 2 - 3, side + 6, side + 6);
  }
}

function nearest(x, y) {
  const reach = el("faces").checked ? faceSide() : 14;
  let best = -1, least = reach * reach;
  for (let n = 0; n < data.places.length; n++) {
    if (!isShown(n)) continue;
    const [a, b] = placeOf(n), distance = (a - x) ** 2 + (b - y) ** 2;
    if (distance < least) { least = distance; best = n; }
  }
  return best;
}

function show(n, pageX, pageY) {
  hovered = n;
  card.style.display = n < 0 ? "none" : "block";
  if (n >= 0) {
    const [picture, words] = card.children;
    drawFace(picture.getContext("2d"), n, 0, 0, 140);
    words.replaceChildren(...Object.entries(data.columns).map(([name, values]) => {
      const line = document.createElement("div");
      line.textContent = `${name}: ${values[n] || "unknown"}`;
      return line;
    }));
    const left = pageX + 18 + card.offsetWidth > innerWidth ? pageX - 18 - card.offsetWidth : pageX + 18;
    card.style.left = Math.max(4, left) + "px";
    card.style.top = Math.max(4, Math.min(pageY, innerHeight - card.offsetHeight - 8)) + "px";
  }
  draw();
}

function zoomAt(x, y, factor) {
  const before = scale(), zoom = Math.max(0.5, Math.min(400, view.zoom * factor));
  const fromX = x - map.clientWidth / 2, fromY = y - map.clientHeight / 2;
  view.zoom = zoom;
  view.x += fromX / before - fromX / scale();
  view.y += fromY / before - fromY / scale();
  draw();
}

function spread() {
  const [a, b] = [...touches.values()];
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

map.addEventListener("wheel", event => {
  event.preventDefault();
  zoomAt(event.offsetX, event.offsetY, Math.exp(-event.deltaY * 0.0016));
}, {passive: false});
map.addEventListener("pointerdown", event => {
  map.setPointerCapture(event.pointerId);
  touches.set(event.pointerId, [event.offsetX, event.offsetY]);
  grabbed = [event.offsetX, event.offsetY];
  if (touches.size === 2) pinched = spread();
});
map.addEventListener("pointermove", event => {
  const x = event.offsetX, y = event.offsetY;
  if (touches.has(event.pointerId)) touches.set(event.pointerId, [x, y]);
  if (touches.size === 2) {
    const [a, b] = [...touches.values()], now = spread();
    zoomAt((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, now / pinched);
    pinched = now;
  } else if (grabbed && touches.size === 1) {
    view.x -= (x - grabbed[0]) / scale();
    view.y -= (y - grabbed[1]) / scale();
    grabbed = [x, y];
    show(-1);
  } else {
    const n = nearest(x, y);
    if (n !== hovered || n >= 0) show(n, event.clientX, event.clientY);
  }
});
for (const name of ["pointerup", "pointercancel"]) {
  map.addEventListener(name, event => {
    touches.delete(event.pointerId);
    const left = [...touches.values()];
    grabbed = left.length ? left[0] : null;
  });
}
map.addEventListener("pointerleave", () => show(-1));
map.addEventListener("keydown", event => {
  const step = 60 / scale(), moves = {ArrowLeft: [-step, 0], ArrowRight: [step, 0],
                                      ArrowUp: [0, -step], ArrowDown: [0, step]};
  if (event.key in moves) {
    view.x += moves[event.key][0];
    view.y += moves[event.key][1];
  } else if (event.key === "+" || event.key === "-") {
    zoomAt(map.clientWidth / 2, map.clientHeight / 2, event.key === "+" ? 1.3 : 1 / 1.3);
  } else return;
  event.preventDefault();
  draw();
});
by.addEventListener("change", recolor);
el("faces").addEventListener("change", draw);
el("home").addEventListener("click", () => { view = {x: 0.5, y: 0.5, zoom: 1}; draw(); });
addEventListener("resize", draw);
if (sheet.complete) recolor(); else { sheet.addEventListener("load", recolor); recolor(); }
"""
