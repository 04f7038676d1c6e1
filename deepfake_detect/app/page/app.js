// The page: uploads, their progress, one result at a time. All text from outside is inserted as text, never as HTML.

const API = "/v1"; // where the addresses of the HTTP API begin
const POLL_MILLISECONDS = 400;
const SEEK_OFFSET_SECONDS = 0.001; // past the frame's start, so that rounding does not show the frame before
const NUM_TONES = 8;
const MAX_KEY_FACES = 6; // of each kind; the report has them all
const LABEL_PERCENT = 6; // of a frame's height: a face nearer to its top has its number inside the box
const MAX_FAILURES = 10; // in a row, before the server is taken for lost
const STAGES = {
  queued: "Waiting to upload", uploading: "Uploading", waiting: "Waiting in the queue", checking: "Checking the file",
  looking: "Finding and scoring faces", explaining: "Computing heat maps and writing the report",
};
const LOST = { what: "The program", came: "does not respond", allowed: "", do: "check that it is still running, then try again" };
const GONE = { what: "This clip", came: "was deleted, or belongs to an earlier run of the program", allowed: "", do: "add it again" };

const at = (id) => document.getElementById(id);
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const percent = (probability) => `${Math.min(99, Math.max(1, Math.round(100 * probability)))}%`; // never 0 or 100
const person = (track) => `person ${track + 1}`; // people are counted from 1
const toneOf = (track) => `person-${track % NUM_TONES}`;
const exact = (probability) => `${(100 * probability).toFixed(1)}%`;

let limits = null;
const jobs = []; // { id, name, file, state, row, note, bar, endedAt, request }; state: queued … failed, as the stages
let opened = null; // { job, score, page, frame, player, index }
let isWatching = false;

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  return `${Math.floor(tenths / 600)}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

async function errorOf(response) {
  const body = await response.json().catch(() => null);
  return body?.came ? body : LOST;
}

function showProblem(error) {
  at("problem").hidden = !error;
  if (!error) return;
  at("problem-came").textContent = `${error.what}: ${error.came}.`;
  at("problem-do").textContent = `What to do: ${error.do}.`;
  at("problem-allowed").textContent = error.allowed ? `Allowed: ${error.allowed}.` : "";
  at("problem-heading").focus();
}

// ---- the list ----

function addJob(properties) {
  const job = { id: null, state: "queued", endedAt: null, ...properties };
  job.title = make("span", { className: "name", textContent: job.name });
  job.note = make("p", { className: "note" });
  job.bar = make("progress", { max: 1 });
  job.bar.setAttribute("aria-label", `Progress of ${job.name}`);
  const remove = make("button", { type: "button", className: "button remove", textContent: "×", onclick: () => removeJob(job) });
  remove.setAttribute("aria-label", `Remove ${job.name}`);
  job.row = make("li", { className: "job" }, make("div", {}, job.title, job.note), remove, job.bar);
  jobs.push(job);
  at("list").append(job.row);
  setState(job, job.state);
  return job;
}

function setState(job, state, { fraction = null, note = "", tone = "" } = {}) {
  job.state = state;
  job.row.className = `job ${tone} ${state === "failed" ? "failed" : ""}`;
  job.row.dataset.stage = state;
  job.row.classList.toggle("opened", opened?.job === job);
  job.note.textContent = [STAGES[state], note].filter(Boolean).join(": ");
  job.bar.hidden = ["queued", "done", "failed"].includes(state);
  if (fraction === null) job.bar.removeAttribute("value"); else job.bar.value = fraction;
  at("list-part").hidden = !jobs.length;
  document.body.classList.toggle("has-clips", jobs.length > 0);
}

function fail(job, error) {
  const allowed = error.allowed ? ` Allowed: ${error.allowed}.` : "";
  setState(job, "failed", { note: `${error.what}: ${error.came}. What to do: ${error.do}.${allowed}` });
  at("news").textContent = `${job.name} was not scored`;
}

function removeJob(job) {
  job.request?.abort();
  jobs.splice(jobs.indexOf(job), 1);
  job.row.remove();
  if (job.id) fetch(`${API}/jobs/${job.id}`, { method: "DELETE" }).catch(() => null); // the server deletes it later by itself
  if (opened?.job === job) closeResult();
  at("list-part").hidden = !jobs.length;
  document.body.classList.toggle("has-clips", jobs.length > 0);
  save();
  sendNext();
  at("file").focus();
}

function save() {
  const kept = jobs.filter((job) => job.id).map(({ id, name, endedAt }) => ({ id, name, endedAt }));
  sessionStorage.setItem("jobs", JSON.stringify(kept));
}

// ---- upload ----

function addFiles(files) {
  showProblem(null);
  for (const file of files) {
    const job = addJob({ name: file.name, file });
    if (limits && file.size > limits.max_upload_bytes) {
      const came = `has ${(file.size / 2 ** 20).toFixed(0)} MB`;
      fail(job, { what: file.name, came, allowed: sentence(), do: "upload a shorter part" });
    }
  }
  at("file").value = "";
  sendNext();
}

function sendNext() {
  const job = jobs.find((one) => one.state === "queued");
  if (!job || jobs.some((one) => one.state === "uploading")) return;
  const form = new FormData();
  if (job.file) form.append("file", job.file);
  const request = new XMLHttpRequest();
  const end = (error) => { job.request = null; if (error) fail(job, error); sendNext(); };
  job.request = request;
  request.open("POST", job.file ? `${API}/jobs` : `${API}/links?url=${encodeURIComponent(job.name)}`);
  request.responseType = "json";
  request.upload.onprogress = ({ lengthComputable, loaded, total }) => {
    const fraction = lengthComputable ? loaded / total : 0;
    if (job.file) setState(job, "uploading", { fraction, note: `${Math.round(100 * fraction)}% of ${(total / 2 ** 20).toFixed(1)} MB` });
  };
  request.onerror = () => end(LOST);
  request.onload = () => {
    const wait = Number(request.getResponseHeader("retry-after"));
    if (request.status === 503 && wait) {
      setState(job, "uploading", { note: "the queue is full; retrying soon" });
      setTimeout(() => { if (jobs.includes(job)) setState(job, "queued"); end(); }, wait * 1000);
      return;
    }
    if (request.status !== 202) { end(request.response?.came ? request.response : LOST); return; }
    job.id = request.response.id;
    job.file = null;
    setState(job, "waiting");
    save();
    watch();
    end();
  };
  setState(job, "uploading", job.file ? { fraction: 0 } : { note: "from the web" });
  request.send(form);
}

// ---- progress ----

function describe(status) {
  if (status.stage === "waiting") return { note: status.place > 1 ? `${status.place - 1} ahead in the queue` : "next in the queue" };
  if (status.stage !== "looking" || !status.frames_total) return {};
  const { frames_done: done, frames_total: total } = status;
  return { fraction: done / total, note: `${done} of ${total} frames` };
}

// Ask for the state of all unfinished jobs, in turn, until there are none.
async function watch() {
  if (isWatching) return;
  isWatching = true;
  let failures = 0;
  let pending;
  while ((pending = jobs.filter((job) => job.id && !["done", "failed"].includes(job.state))).length) {
    for (const job of pending) {
      const response = await fetch(`${API}/jobs/${job.id}`).catch(() => null);
      failures = response ? 0 : failures + 1;
      if (failures > MAX_FAILURES) { for (const one of pending) fail(one, LOST); break; }
      if (!response || !jobs.includes(job)) continue;
      if (response.ok) update(job, await response.json());
      else fail(job, response.status === 404 ? GONE : await errorOf(response));
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
  isWatching = false;
}

function update(job, status) {
  if (!jobs.includes(job)) return;
  if (status.stage === "failed") { fail(job, status.error ?? LOST); return; }
  if (status.stage !== "done") { setState(job, status.stage, describe(status)); return; }
  job.isImage = status.is_picture;
  job.title.replaceChildren(make("a", { href: `#job/${job.id}`, textContent: job.name }));
  job.endedAt ??= Date.now();
  save();
  const { headline, verdict, fake_probability: probability } = status.outcome ?? {};
  const note = [headline, probability == null || verdict === "score" ? "" : percent(probability)].filter(Boolean).join(", ");
  setState(job, "done", { note, tone: verdict ? `tone-${verdict}` : "" });
  at("news").textContent = `${job.name}: ${note}`;
  setTimeout(() => expire(job), Math.max(0, job.endedAt + limits.keep_seconds * 1000 - Date.now()));
  const address = addressed();
  if (address === job.id) openResult(job);
  else if (!address && jobs.length === 1) location.hash = `job/${job.id}`;
}

// ---- result ----

function addressed() {
  return location.hash.startsWith("#job/") ? location.hash.slice("#job/".length) : "";
}

function followAddress() {
  const id = addressed();
  if (!id) { closeResult(); return; }
  const job = jobs.find((one) => one.id === id) ?? addJob({ id, name: "a clip", state: "waiting" });
  if (job.state === "done") openResult(job); else watch();
}

function closeResult() {
  if (location.hash) history.replaceState(null, "", location.pathname);
  at("result").hidden = true;
  stopPlayer();
  at("stage").replaceChildren();
  opened?.job.row.classList.remove("opened");
  opened = null;
}

// A player that is only taken off the page keeps its connection, and a browser has few of them.
function stopPlayer() {
  const player = opened?.player;
  if (!player) return;
  opened.player = player.onerror = null;
  player.removeAttribute("src");
  player.load();
}

async function openResult(job) {
  const response = await fetch(`${API}/jobs/${job.id}/result`).catch(() => null);
  if (addressed() !== job.id) return;
  if (!response?.ok) { showProblem(response ? await errorOf(response) : LOST); return; }
  const { score, page } = await response.json();
  opened?.job.row.classList.remove("opened");
  stopPlayer();
  job.name = score.video;
  job.title.firstChild.textContent = job.name;
  job.row.classList.add("opened");
  opened = { job, score, page, player: null, index: 0, people: peopleOf(score) };
  at("result").hidden = false;
  showVerdict();
  showStage();
  showTimeline();
  showPeople();
  const faces = page.moments.toSorted((one, other) => other.fake_probability - one.fake_probability);
  at("suspicious-heading").textContent = score.frames.length === 1 ? "Faces" : "Most suspicious frames";
  showKeyFaces("suspicious", faces.filter((one) => one.is_suspicious));
  showKeyFaces("harmless", faces.filter((one) => !one.is_suspicious).reverse());
  at("key-frames-part").hidden = !faces.length;
  at("heat-map-note").textContent = page.heat_map_note;
  showNumbers();
  offerDownloads();
  at("verdict").scrollIntoView({ block: "start" });
  at("headline").focus({ preventScroll: true });
}

function showVerdict() {
  const { score, page } = opened;
  const { uncertain_low: low, uncertain_high: high } = score.decision_rule;
  at("verdict").className = `card verdict tone-${score.verdict}`;
  at("sign").textContent = page.sign;
  at("clip-name").textContent = score.video;
  at("headline").textContent = page.headline;
  at("meaning").textContent = `${page.meaning} ${page.interval}`;
  at("reasons-title").textContent = page.reasons_title;
  for (const part of ["reasons", "advice"]) {
    at(`${part}-part`).hidden = !page[part].length;
    at(part).replaceChildren(...page[part].map((line) => make("li", { textContent: capital(line) })));
  }
  at("caveat").textContent = page.caveat;
  at("credentials-part").hidden = !page.credentials;
  at("credentials").textContent = page.credentials;
  at("scale").hidden = score.fake_probability === null;
  at("scale-band").hidden = low >= high;
  at("scale-band").style.left = `${100 * low}%`;
  at("scale-band").style.width = `${100 * (high - low)}%`;
  at("scale-mark").style.left = `${100 * (score.fake_probability ?? 0)}%`;
}

// ---- the clip: a player, or its frames where the browser cannot play it, with a numbered box around each face ----

function showStage() {
  const { job, score } = opened;
  const { width, height } = score.frame_size;
  const frame = make("div", { className: "frame" });
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.width = `min(100%, calc(60vh * ${width / height}))`;
  opened.frame = frame;
  at("unplayable").hidden = true;
  at("clip-heading").textContent = job.isImage ? "The image" : score.tracks.length ? "The clip over time" : "The clip";
  const address = `${API}/jobs/${job.id}/video`;
  const kind = job.isImage ? make("img", { src: address, alt: "the scored image" })
    : make("video", { controls: true, playsInline: true, preload: "auto", src: address });
  if (!job.isImage) opened.player = kind;
  kind.onerror = () => { if (opened?.frame === frame) showFrames(); };
  frame.append(kind);
  at("stage").replaceChildren(frame);
  moveBoxes(score.frames[0].time_seconds ?? 0);
  if (!opened.player) return;
  const tick = () => {
    if (opened?.player !== kind) return;
    moveBoxes(kind.currentTime);
    if (!kind.paused && !kind.ended) requestAnimationFrame(tick);
  };
  kind.onplay = kind.onseeked = kind.onseeking = kind.ontimeupdate = tick;
}

// Show the sampled frames in place of a file that the browser cannot show.
function showFrames() {
  at("unplayable").hidden = false;
  stopPlayer();
  at("timeline").querySelector(".playhead")?.remove();
  showFrame(opened.index);
}

function showFrame(number) {
  const { score, page, frame } = opened;
  opened.index = number;
  const { frame_index: index, faces } = score.frames[number];
  const source = page.frames[index] ?? page.thumbnails[index];
  const shown = source ? [make("img", { src: source, alt: `frame ${index}` })] : [];
  frame.replaceChildren(...shown);
  drawBoxes(faces.map((face) => [face.track_id, face.box_xyxy]));
}

function peopleOf(score) {
  const times = score.frames.map((one) => one.time_seconds);
  const steps = times.slice(1).map((time, number) => time - times[number]).sort((one, other) => one - other);
  // One missed frame is bridged; over a longer gap the position is unknown.
  const maxGap = 2.5 * (steps[steps.length >> 1] ?? 0);
  return score.tracks.map(({ track_id: track }) => ({
    track,
    maxGap,
    seen: score.frames.flatMap((frame) => frame.faces.filter((face) => face.track_id === track)
      .map((face) => ({ time: frame.time_seconds, box: face.box_xyxy }))),
  }));
}

// Return a person's box at a time, between the sampled frames around it; null where it is not known.
function boxAt({ seen, maxGap }, time) {
  const after = seen.find((one) => one.time > time);
  const before = seen.findLast((one) => one.time <= time);
  if (!after || !before) {
    const nearest = after ?? before;
    return nearest && Math.abs(nearest.time - time) <= maxGap / 2 + SEEK_OFFSET_SECONDS ? nearest.box : null;
  }
  if (after.time - before.time > maxGap) return time - before.time <= 2 * SEEK_OFFSET_SECONDS ? before.box : null;
  const weight = (time - before.time) / (after.time - before.time);
  return before.box.map((value, side) => value + weight * (after.box[side] - value));
}

function moveBoxes(seconds) {
  const { people, score } = opened;
  drawBoxes(score.frames.length === 1
    ? score.frames[0].faces.map((face) => [face.track_id, face.box_xyxy])
    : people.map((one) => [one.track, boxAt(one, seconds)]).filter(([, box]) => box));
}

function drawBoxes(boxes) {
  const { frame, score } = opened;
  const size = [score.frame_size.width, score.frame_size.height];
  for (const old of frame.querySelectorAll(".box")) old.remove();
  frame.append(...boxes.map(([track, corners]) => {
    const [left, top, right, bottom] = corners.map((value, side) => Math.min(100, Math.max(0, (100 * value) / size[side % 2])));
    const box = make("span", { className: `box ${toneOf(track)} ${top < LABEL_PERCENT ? "top" : ""}` }, make("strong", { textContent: track + 1 }));
    Object.assign(box.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
    return box;
  }));
}

function jump(seconds, number) {
  if (!opened.player) { if (!opened.job.isImage) showFrame(number); return; }
  opened.player.pause();
  opened.player.currentTime = seconds + SEEK_OFFSET_SECONDS;
}

// ---- timeline and people ----

function shapes(list) {
  return list.map(([name, attributes, text]) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  });
}

function showTimeline() {
  const { score, page: { chart } } = opened;
  at("timeline-part").hidden = !chart;
  if (!chart) return;
  const [svg] = shapes([["svg", { "aria-hidden": "true" }, ""]]);
  svg.append(...shapes(chart.axes));
  const groups = chart.people.map((one) => {
    const [group] = shapes([["g", { class: toneOf(one.person) }, ""]]);
    group.append(...shapes(one.shapes));
    svg.append(group);
    return group;
  });
  at("timeline").replaceChildren(svg);
  globalThis.linkTimeline(at("timeline"), chart.frames, ({ seconds, index }) =>
    jump(seconds, score.frames.findIndex((frame) => frame.frame_index === index)));
  at("legend").hidden = groups.length < 2;
  at("legend").replaceChildren(...chart.people.map((one, number) => legendButton(one, groups[number], groups)));
  const { player } = opened;
  if (!player) return;
  const line = make("div", { className: "playhead" });
  at("timeline").append(line);
  const place = () => {
    if (opened?.player !== player) return;
    line.style.left = `${Math.min(100, (100 * player.currentTime) / chart.seconds)}%`;
    if (!player.paused && !player.ended) requestAnimationFrame(place);
  };
  for (const name of ["play", "seeking", "seeked", "timeupdate"]) player.addEventListener(name, place);
}

function legendButton(one, group, groups) {
  const button = make("button", { type: "button", className: toneOf(one.person), textContent: capital(one.name) });
  button.setAttribute("aria-pressed", "false");
  button.onclick = () => {
    const isAlone = button.getAttribute("aria-pressed") === "true";
    for (const other of at("legend").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", String(!isAlone));
    for (const other of groups) other.classList.toggle("faint", !isAlone && other !== group);
  };
  return make("li", {}, button);
}

function showPeople() {
  const { score, page } = opened;
  at("people-part").hidden = !score.tracks.length;
  const people = score.tracks.toSorted((one, other) => other.decides - one.decides || other.num_frames - one.num_frames);
  at("people").replaceChildren(...people.map((track) => {
    const portrait = page.moments.find((one) => one.track_id === track.track_id);
    const decides = track.decides && score.tracks.length > 1 ? "the clip's verdict is based on this person" : "";
    const frames = score.frames.length > 1 ? `seen in ${track.num_frames} of ${score.frames.length} frames` : "";
    const words = make("div", {},
      make("p", {}, make("strong", { textContent: capital(person(track.track_id)) })),
      make("p", { textContent: `${page.verdicts[track.track_id]} (${percent(track.fake_probability)})` }),
      make("p", { className: "quiet", textContent: frames }),
      make("p", { className: "quiet", textContent: decides }));
    return make("li", { className: toneOf(track.track_id) }, portrait
      ? make("img", { className: "portrait", src: portrait.face, alt: `face of ${person(track.track_id)}` })
      : make("span", { className: "portrait", textContent: track.track_id + 1 }), words);
  }));
}

function showKeyFaces(kind, faces) {
  const { score, job } = opened;
  at(`${kind}-part`).hidden = !faces.length;
  at(kind).replaceChildren(...faces.slice(0, MAX_KEY_FACES).map((face) => {
    const number = score.frames.findIndex((frame) => frame.frame_index === face.frame_index);
    const time = clock(face.time_seconds ?? 0);
    const who = job.isImage ? person(face.track_id) : `${person(face.track_id)} at ${time}`;
    const button = make("button", { type: "button", className: "button", textContent: `▶ ${time}` });
    button.setAttribute("aria-label", `Show ${who} in the clip`);
    button.onclick = () => { jump(face.time_seconds, number); at("stage").scrollIntoView({ block: "center" }); };
    return make("li", {},
      make("div", { className: "pair" },
        make("img", { src: face.face, alt: `face of ${who}` }),
        ...(face.heat_map ? [make("img", { src: face.heat_map, alt: `heat map of ${who}` })] : [])),
      make("div", { className: "row" },
        make("span", { textContent: `${capital(person(face.track_id))}: ${percent(face.fake_probability)}` }),
        ...(job.isImage ? [] : [button])));
  }));
}

function showNumbers() {
  const { score } = opened;
  const { detector, decision_rule: rule } = score;
  const facts = {
    "fake probability": score.fake_probability === null ? "none: no face" : exact(score.fake_probability),
    "no signs of forgery": `below ${exact(rule.uncertain_low)}`,
    "signs of forgery": `${exact(rule.uncertain_high)} or more`,
    "frames with a face": `${score.num_frames_scored} of ${score.frames.length} sampled`,
    aggregation: detector.aggregation_rule.replaceAll("_", " "),
    detector: `${detector.name} ${detector.version}`,
  };
  at("facts").replaceChildren(...Object.entries(facts).flatMap(
    ([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
  const rows = score.frames.flatMap((frame) => (frame.faces.length ? frame.faces : [null]).map((face) => make("tr", {},
    ...[clock(frame.time_seconds ?? 0), frame.frame_index, face ? face.track_id + 1 : "–", face ? exact(face.fake_probability) : "no face"]
      .map((text) => make("td", { textContent: text })))));
  at("table").tBodies[0].replaceChildren(...rows);
}

// ---- downloads ----

function offerDownloads() {
  const { job, score } = opened;
  const stem = score.video.replace(/\.[^.]*$/, "");
  at("annotated").hidden = job.isImage || !score.tracks.length;
  for (const [id, file, name] of [["report", "report.html", `${stem}-report.html`], ["annotated", "annotated.mp4", `${stem}-boxes.mp4`]]) {
    at(id).href = `${API}/jobs/${job.id}/${file}`;
    at(id).download = name;
    at(id).removeAttribute("aria-disabled");
  }
  URL.revokeObjectURL(at("json").href);
  at("json").href = URL.createObjectURL(new Blob([JSON.stringify(score, null, 2)], { type: "application/json" }));
  at("json").download = `${stem}.json`;
  if (job.isExpired) { showExpired(); return; }
  const end = new Date(job.endedAt + limits.keep_seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  at("forgotten").textContent = `This clip and its report will be deleted at ${end}, or soon after you leave the page.`;
}

// The clip with boxes is made when it is asked for, which takes a while.
at("annotated").onclick = async (event) => {
  event.preventDefault();
  const link = event.currentTarget;
  if (link.hasAttribute("aria-disabled")) return;
  const { href, download, textContent } = link;
  link.setAttribute("aria-disabled", "true");
  link.textContent = "Drawing the boxes…";
  const response = await fetch(href).catch(() => null);
  link.textContent = textContent;
  if (link.href === href) link.removeAttribute("aria-disabled");
  if (!response?.ok) { showProblem(response ? await errorOf(response) : LOST); return; }
  const address = URL.createObjectURL(await response.blob());
  make("a", { href: address, download }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
};

function expire(job) {
  job.isExpired = true;
  if (opened?.job === job) { showFrames(); showExpired(); }
}

function showExpired() {
  for (const id of ["report", "annotated"]) {
    at(id).removeAttribute("href");
    at(id).setAttribute("aria-disabled", "true");
  }
  at("unplayable").hidden = true;
  at("forgotten").textContent = "The clip and its report have been deleted. This page keeps showing the results until you leave it.";
}

// ---- start ----

function sentence() {
  return `videos or images of up to ${+(limits.max_upload_bytes / 2 ** 20).toFixed(1)} MB and ${limits.max_seconds / 60 >= 1
    ? `${+(limits.max_seconds / 60).toFixed(1)} minutes` : `${limits.max_seconds} seconds`} each`;
}

async function start() {
  const health = await fetch(`${API}/health`).then((response) => response.json()).catch(() => null);
  if (!health) { showProblem(LOST); return; }
  limits = health.limits;
  at("version").textContent = `deepfake_detect ${health.version}`;
  at("allowed").textContent = capital(sentence());
  at("keep").textContent = `${+(limits.keep_seconds / 60).toFixed(1)} minutes`;
  at("link-form").hidden = !health.allow_url;
  for (const kept of JSON.parse(sessionStorage.getItem("jobs") ?? "[]")) addJob({ ...kept, state: "waiting" });
  if (addressed()) followAddress();
  watch();
}

function acceptDrops() {
  addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) at("drop").classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    at("drop").classList.remove("over");
    addFiles(event.dataTransfer?.files ?? []);
  });
}

at("file").onchange = () => addFiles([...at("file").files]);
at("link-form").onsubmit = (event) => {
  event.preventDefault();
  addJob({ name: at("link").value });
  at("link").value = "";
  sendNext();
};
addEventListener("hashchange", followAddress);
addEventListener("pagehide", () => { for (const { id } of jobs) if (id) navigator.sendBeacon(`${API}/jobs/${id}/leave`); });
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const job of jobs) if (job.state === "done") setState(job, "waiting");
  watch();
});
acceptDrops();
start();
