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
function positionOf(n) {
  const s = scale(), [x, y] = data.positions[n];
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
  for (let n = 0; n < data.positions.length; n++) {
    if (!isShown(n)) continue;
    const [x, y] = positionOf(n);
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
    const [x, y] = positionOf(hovered);
    pen.lineWidth = 2;
    pen.strokeStyle = "#111";
    pen.strokeRect(x - side / 2 - 3, y - side / 2 - 3, side + 6, side + 6);
  }
}

function nearest(x, y) {
  const reach = el("faces").checked ? faceSide() : 14;
  let best = -1, least = reach * reach;
  for (let n = 0; n < data.positions.length; n++) {
    if (!isShown(n)) continue;
    const [a, b] = positionOf(n), distance = (a - x) ** 2 + (b - y) ** 2;
    if (distance < least) { least = distance; best = n; }
  }
  return best;
}

function show(n, pageX, pageY) {
  hovered = n;
  card.style.display = n < 0 ? "none" : "block";
  if (n >= 0) {
    const [face, words] = card.children;
    drawFace(face.getContext("2d"), n, 0, 0, 140);
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
