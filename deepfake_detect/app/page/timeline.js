// The timeline: one curve a person, linked both ways with the player.

const SVG = "http://www.w3.org/2000/svg";
const EDGE = { left: 48, right: 14, top: 26, bottom: 26 };
const NUM_TONES = 8;

export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

export function percent(probability) {
  // Nothing is certain, so rounding must not give 0 % or 100 %.
  return `${Math.min(99, Math.max(1, Math.round(100 * probability)))}\u00a0%`;
}

export function person(trackId) {
  return `person ${trackId + 1}`; // readers count people from 1
}

export function tone(trackId) {
  return `var(--person-${trackId % NUM_TONES})`;
}

function shape(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

export class Timeline {
  // host: the slider element; score: the JSON of a clip; onJump(seconds): move the player.
  constructor(host, score, onJump) {
    this.host = host;
    this.score = score;
    this.onJump = onJump;
    this.frames = score.frames;
    this.chosen = 0;
    this.alone = null;
    this.now = 0;
    this.duration = Math.max(this.frames.at(-1).time_seconds, 0.001);
    host.setAttribute("aria-valuemax", this.frames.length - 1);
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("aria-hidden", "true");
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    host.replaceChildren(this.svg, this.tip);
    host.onpointermove = (event) => this.point(event);
    host.onpointerleave = () => { this.tip.hidden = true; this.mark(null); };
    host.onclick = (event) => { this.point(event); this.jump(); };
    host.onkeydown = (event) => this.key(event);
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(host);
    this.describe();
  }

  setDuration(seconds) {
    if (Number.isFinite(seconds) && seconds > this.duration) { this.duration = seconds; this.draw(); }
  }

  setTime(seconds) {
    this.now = seconds;
    this.movePlayhead();
  }

  showAlone(trackId) {
    this.alone = trackId;
    this.draw();
  }

  close() {
    this.watcher.disconnect();
    this.host.replaceChildren();
  }

  x(seconds) {
    return EDGE.left + (this.width - EDGE.left - EDGE.right) * Math.min(1, seconds / this.duration);
  }

  y(probability) {
    return EDGE.top + (this.height - EDGE.top - EDGE.bottom) * (1 - probability);
  }

  draw() {
    this.width = this.host.clientWidth;
    this.height = this.svg.clientHeight;
    if (!this.width || !this.height) return;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.replaceChildren();
    this.drawAxes();
    for (const track of this.score.tracks) this.drawTrack(track.track_id);
    this.playhead = shape("g", {}, this.svg);
    shape("line", { class: "playhead", y1: EDGE.top - 6, y2: this.height - EDGE.bottom }, this.playhead);
    shape("path", { class: "playhead-top", d: `M-6 ${EDGE.top - 14}h12l-6 9z` }, this.playhead);
    this.ring = shape("circle", { class: "chosen", r: 6, visibility: "hidden" }, this.svg);
    this.movePlayhead();
  }

  drawAxes() {
    const { uncertain_low: low, uncertain_high: high } = this.score.detector;
    const right = this.width - EDGE.right;
    shape("rect", { class: "band", x: EDGE.left, width: right - EDGE.left, y: this.y(high), height: this.y(low) - this.y(high) }, this.svg);
    for (const value of [0, 0.5, 1]) {
      shape("line", { class: "grid", x1: EDGE.left, x2: right, y1: this.y(value), y2: this.y(value) }, this.svg);
      shape("text", { x: EDGE.left - 6, y: this.y(value) + 4, "text-anchor": "end" }, this.svg).textContent = `${100 * value} %`;
    }
    const marks = Math.max(2, Math.min(6, Math.floor(this.width / 110)));
    for (let mark = 0; mark <= marks; mark += 1) {
      const seconds = (this.duration * mark) / marks;
      const anchor = mark === marks ? "end" : mark === 0 ? "start" : "middle";
      shape("text", { x: this.x(seconds), y: this.height - 8, "text-anchor": anchor }, this.svg).textContent = clock(seconds);
    }
  }

  drawTrack(trackId) {
    const group = shape("g", { class: this.alone === null || this.alone === trackId ? "" : "faint" }, this.svg);
    group.style.setProperty("--tone", tone(trackId));
    let run = [];
    const runs = [run];
    for (const frame of this.frames) {
      const face = frame.faces.find((one) => one.track_id === trackId);
      // No line across frames without the person: nothing is known about them.
      if (face) run.push([this.x(frame.time_seconds), this.y(face.fake_probability)]);
      else if (run.length) runs.push((run = []));
    }
    for (const points of runs) {
      if (points.length > 1) shape("polyline", { class: "curve", points: points.map((point) => point.join(",")).join(" ") }, group);
      for (const [cx, cy] of points) shape("circle", { class: "point", cx, cy, r: 3.5 }, group);
    }
  }

  movePlayhead() {
    if (this.playhead) this.playhead.setAttribute("transform", `translate(${this.x(this.now)} 0)`);
  }

  // Choose the sampled frame under the pointer, and the person whose curve is nearest.
  point(event) {
    const box = this.host.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    const distance = (frame) => Math.abs(this.x(frame.time_seconds) - x);
    this.chosen = this.frames.reduce((best, frame, index) => (distance(frame) < distance(this.frames[best]) ? index : best), 0);
    const faces = this.shownFaces();
    const nearness = (face) => Math.abs(this.y(face.fake_probability) - y);
    this.select(faces.toSorted((one, other) => nearness(one) - nearness(other))[0] ?? null);
  }

  shownFaces() {
    return this.frames[this.chosen].faces.filter((face) => this.alone === null || face.track_id === this.alone);
  }

  select(face) {
    const frame = this.frames[this.chosen];
    const x = this.x(frame.time_seconds);
    this.tip.textContent = `${clock(frame.time_seconds)}, frame ${frame.frame_index}: ${
      face ? `${person(face.track_id)}, ${percent(face.fake_probability)}` : "no face"}`;
    this.tip.className = x < 110 ? "tip left" : x > this.width - 110 ? "tip right" : "tip";
    this.tip.style.left = `${x}px`;
    this.tip.hidden = false;
    this.mark(face);
    this.describe();
  }

  mark(face) {
    if (!this.ring) return;
    this.ring.setAttribute("visibility", face ? "visible" : "hidden");
    if (!face) return;
    this.ring.setAttribute("cx", this.x(this.frames[this.chosen].time_seconds));
    this.ring.setAttribute("cy", this.y(face.fake_probability));
    this.ring.style.setProperty("--tone", tone(face.track_id));
  }

  describe() {
    const frame = this.frames[this.chosen];
    const faces = frame.faces.map((face) => `${person(face.track_id)} ${percent(face.fake_probability)}`);
    this.host.setAttribute("aria-valuenow", this.chosen);
    this.host.setAttribute("aria-valuetext", `${clock(frame.time_seconds)}: ${faces.join(", ") || "no face"}`);
  }

  jump() {
    this.onJump(this.frames[this.chosen].time_seconds);
  }

  key(event) {
    const last = this.frames.length - 1;
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5, Home: -last, End: last };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.chosen = Math.min(last, Math.max(0, this.chosen + steps[event.key]));
    this.select(this.shownFaces()[0] ?? null);
    this.jump();
  }
}
