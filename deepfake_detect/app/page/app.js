// The page: upload, progress, result. All text from outside is inserted as text, never as HTML.

import { Timeline, clock, percent, person, tone } from "/timeline.js";

const POLL_MILLISECONDS = 400;
const SEEK_OFFSET_MILLISECONDS = 1; // past the frame's start, so that rounding does not show the frame before
const MAX_KEY_FACES = 6; // of each kind; the report has them all
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const at = (id) => document.getElementById(id);

let limits = null;
let job = null; // { id, name, isImage, timeline, player, timer }
let upload = null;

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function show(...ids) {
  for (const id of ["start", "problem", "work", "result"]) at(id).hidden = !ids.includes(id);
}

function showProblem(error) {
  at("problem-came").textContent = `${error.what}: ${error.came}.`;
  at("problem-do").textContent = `What to do: ${error.do}.`;
  at("problem-allowed").textContent = error.allowed ? `Allowed: ${error.allowed}.` : "";
  show("problem");
  at("problem-heading").focus();
}

function lostServer() {
  return { what: "The program", came: "does not respond", allowed: "", do: "check that it is still running, then try again" };
}

async function errorOf(response) {
  const body = await response.json().catch(() => null);
  return body && body.came ? body : lostServer();
}

// ---- upload ----

function begin(file) {
  if (!file) return;
  if (limits && file.size > limits.max_upload_bytes) {
    const size = (file.size / 2 ** 20).toFixed(0);
    showProblem({ what: file.name, came: `has ${size} MB`, allowed: sentence(), do: "send a shorter part of it" });
    return;
  }
  at("work-name").textContent = file.name;
  showStage("uploading", 0, "");
  show("work");
  at("work-heading").focus();
  send(file);
}

function send(file) {
  const form = new FormData();
  form.append("file", file);
  upload = new XMLHttpRequest();
  upload.open("POST", "/jobs");
  upload.responseType = "json";
  upload.upload.onprogress = (event) => {
    const fraction = event.lengthComputable ? event.loaded / event.total : 0;
    showStage("uploading", fraction, `${Math.round(100 * fraction)} % of ${(file.size / 2 ** 20).toFixed(1)} MB`);
  };
  upload.onerror = () => showProblem(lostServer());
  upload.onload = () => {
    const { status, response } = upload;
    upload = null;
    if (status !== 202) { showProblem(response?.came ? response : lostServer()); return; }
    job = { id: response.id, name: response.name };
    follow(job);
  };
  upload.send(form);
}

// ---- progress ----

function showStage(stage, fraction, note) {
  let isPast = true;
  for (const item of at("stages").children) {
    const isNow = item.dataset.stage === stage;
    if (isNow) isPast = false;
    item.className = isNow ? "now" : isPast ? "past" : "";
    if (isNow) item.setAttribute("aria-current", "step"); else item.removeAttribute("aria-current");
  }
  if (fraction === null) at("bar").removeAttribute("value"); else at("bar").value = fraction;
  at("work-note").textContent = note;
}

function describe(status) {
  if (status.stage === "waiting") return [null, status.place > 1 ? `${status.place - 1} ahead of you` : "You are next"];
  if (status.stage !== "looking" || !status.frames_total) return [null, ""];
  const { frames_done: done, frames_total: total } = status;
  return [done / total, `${done} of ${total} frames`];
}

async function follow(current) {
  let failures = 0;
  while (job === current) {
    let response;
    try {
      response = await fetch(`/jobs/${current.id}`);
      failures = 0;
    } catch {
      failures += 1;
      if (failures > 10) { forget(); showProblem(lostServer()); return; }
    }
    if (job !== current) return;
    if (response && !response.ok) { const error = await errorOf(response); job = null; showProblem(error); return; }
    if (response) {
      const status = await response.json();
      if (job !== current) return;
      if (status.stage === "failed") { forget(); showProblem(status.error ?? lostServer()); return; }
      if (status.stage === "done") { current.isImage = status.is_picture; await finish(current); return; }
      showStage(status.stage, ...describe(status));
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
}

async function finish(current) {
  const response = await fetch(`/jobs/${current.id}/result`).catch(() => null);
  if (job !== current) return;
  if (!response?.ok) { const error = response ? await errorOf(response) : lostServer(); forget(); showProblem(error); return; }
  const { score, page } = await response.json();
  if (job !== current) return;
  show("result");
  showVerdict(score, page);
  showPlayer(score);
  showPeople(score, page);
  const isStill = score.frames.length === 1;
  const faces = page.moments.toSorted((one, other) => other.fake_probability - one.fake_probability);
  at("suspicious-heading").textContent = isStill ? "Faces" : "Most suspicious frames";
  showKeyFaces("suspicious", faces.filter((one) => one.is_suspicious));
  showKeyFaces("harmless", faces.filter((one) => !one.is_suspicious).reverse());
  at("key-frames-part").hidden = !faces.length;
  at("heat-map-note").textContent = page.heat_map_note;
  showNumbers(score);
  offerDownloads(score);
  current.timer = setTimeout(() => expire(current), limits.keep_seconds * 1000);
  window.scrollTo(0, 0);
  at("headline").focus({ preventScroll: true });
}

// ---- result ----

function showVerdict(score, page) {
  const { uncertain_low: low, uncertain_high: high } = score.detector;
  at("verdict").className = `card verdict tone-${score.verdict}`;
  at("sign").textContent = page.sign;
  at("clip-name").textContent = score.video;
  at("headline").textContent = page.headline;
  at("meaning").textContent = `${page.meaning} ${page.interval}`;
  at("reasons-title").textContent = page.reasons_title;
  for (const part of ["reasons", "advice"]) {
    at(`${part}-part`).hidden = !page[part].length;
    at(part).replaceChildren(...page[part].map((line) => make("li", { textContent: line })));
  }
  at("caveat").textContent = page.caveat;
  at("credentials-part").hidden = !page.credentials;
  at("credentials").textContent = page.credentials;
  at("scale").hidden = at("scale-ends").hidden = score.fake_probability === null;
  at("scale-band").style.left = `${100 * low}%`;
  at("scale-band").style.width = `${100 * (high - low)}%`;
  at("scale-mark").style.left = `${100 * (score.fake_probability ?? 0)}%`;
}

function showPlayer(score) {
  const address = `/jobs/${job.id}/video`;
  at("unplayable").hidden = true;
  const hasTimeline = score.frames.length > 1 && score.tracks.length > 0;
  at("timeline-part").hidden = !hasTimeline;
  at("clip-heading").textContent = job.isImage ? "The image" : "The clip over time";
  if (job.isImage) {
    at("stage").replaceChildren(make("img", { src: address, alt: "the scored image" }));
  } else {
    job.player = make("video", { controls: true, playsInline: true, preload: "auto", src: address });
    job.player.onerror = () => { at("unplayable").hidden = !job; };
    at("stage").replaceChildren(job.player);
  }
  if (hasTimeline) linkTimeline(score);
}

function linkTimeline(score) {
  const { player } = job;
  const timeline = new Timeline(at("timeline"), score, jump);
  job.timeline = timeline;
  at("legend").replaceChildren(...score.tracks.map((track) => legendButton(track, timeline)));
  at("legend").hidden = score.tracks.length < 2;
  if (!player) return;
  player.onloadedmetadata = () => timeline.setDuration(player.duration);
  const tick = () => {
    timeline.setTime(player.currentTime);
    if (!player.paused && !player.ended) requestAnimationFrame(tick);
  };
  player.onplay = player.onseeked = player.onseeking = player.ontimeupdate = tick;
}

function legendButton(track, timeline) {
  const button = make("button", { type: "button", textContent: capital(person(track.track_id)) });
  button.style.setProperty("--tone", tone(track.track_id));
  button.setAttribute("aria-pressed", "false");
  button.onclick = () => {
    const isAlone = button.getAttribute("aria-pressed") === "true";
    for (const other of at("legend").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", String(!isAlone));
    timeline.showAlone(isAlone ? null : track.track_id);
  };
  return make("li", {}, button);
}

function jump(seconds) {
  job?.timeline?.setTime(seconds);
  if (!job?.player) return;
  job.player.pause();
  job.player.currentTime = seconds + SEEK_OFFSET_MILLISECONDS / 1000;
}

function showPeople(score, page) {
  at("people-part").hidden = !score.tracks.length;
  const people = score.tracks.toSorted((one, other) => other.decides - one.decides || other.num_frames - one.num_frames);
  at("people").replaceChildren(...people.map((track) => {
    const portrait = page.moments.find((one) => one.track_id === track.track_id);
    const decides = track.decides && score.tracks.length > 1 ? "the verdict is about this person" : "";
    const frames = score.frames.length > 1 ? `seen in ${track.num_frames} of ${score.frames.length} frames` : "";
    const words = make("div", {},
      make("p", {}, make("strong", { textContent: capital(person(track.track_id)) })),
      make("p", { textContent: `${page.verdicts[track.track_id]} (${percent(track.fake_probability)})` }),
      make("p", { className: "quiet", textContent: frames }),
      make("p", { className: "quiet", textContent: decides }));
    const item = make("li", {}, words);
    item.style.setProperty("--tone", tone(track.track_id));
    item.prepend(portrait
      ? make("img", { className: "portrait", src: portrait.face, alt: `face of ${person(track.track_id)}` })
      : make("span", { className: "portrait", textContent: track.track_id + 1 }));
    return item;
  }));
}

function showKeyFaces(kind, faces) {
  at(`${kind}-part`).hidden = !faces.length;
  at(kind).replaceChildren(...faces.slice(0, MAX_KEY_FACES).map((face) => {
    const who = `${person(face.track_id)} at ${clock(face.time_seconds)}`;
    const button = make("button", { type: "button", className: "button", textContent: `▶ ${clock(face.time_seconds)}` });
    button.setAttribute("aria-label", `Show ${who} in the player`);
    button.onclick = () => { jump(face.time_seconds); at("stage").scrollIntoView({ block: "center" }); };
    return make("li", {},
      make("div", { className: "pair" },
        make("img", { src: face.face, alt: `face of ${who}` }),
        ...(face.heat_map ? [make("img", { src: face.heat_map, alt: `heat map of ${who}` })] : [])),
      make("div", { className: "row" },
        make("span", { textContent: `${capital(person(face.track_id))}: ${percent(face.fake_probability)}` }),
        ...(job.player ? [button] : [])));
  }));
}

function showNumbers(score) {
  const { detector } = score;
  const facts = {
    "fake probability": score.fake_probability === null ? "none: no face" : `${(100 * score.fake_probability).toFixed(1)} %`,
    "frames with a face": `${score.num_frames_scored} of ${score.frames.length} sampled`,
    "no signs of forgery": `below ${(100 * detector.uncertain_low).toFixed(1)} %`,
    "signs of forgery": `from ${(100 * detector.uncertain_high).toFixed(1)} % on`,
    aggregation: detector.aggregation_rule.replaceAll("_", " "),
    detector: `${detector.name} ${detector.version}`,
  };
  at("facts").replaceChildren(...Object.entries(facts).flatMap(
    ([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
  const rows = score.frames.flatMap((frame) => (frame.faces.length ? frame.faces : [null]).map((face) => make("tr", {},
    ...[clock(frame.time_seconds), frame.frame_index, face ? face.track_id + 1 : "–", face ? `${(100 * face.fake_probability).toFixed(1)} %` : "no face"]
      .map((text) => make("td", { textContent: text })))));
  at("table").tBodies[0].replaceChildren(...rows);
}

function offerDownloads(score) {
  const stem = score.video.replace(/\.[^.]*$/, "");
  at("report").href = `/jobs/${job.id}/report.html`;
  at("report").download = `${stem}-report.html`;
  at("report").removeAttribute("aria-disabled");
  URL.revokeObjectURL(at("json").href);
  at("json").href = URL.createObjectURL(new Blob([JSON.stringify(score, null, 2)], { type: "application/json" }));
  at("json").download = `${stem}.json`;
  const end = new Date(Date.now() + limits.keep_seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  at("forgotten").textContent = `The clip and its report are deleted here at ${end}, or when you leave the page.`;
}

// ---- end ----

function expire(current) {
  if (job !== current) return;
  at("stage").replaceChildren();
  at("report").removeAttribute("href");
  at("report").setAttribute("aria-disabled", "true");
  at("forgotten").textContent = "The clip and its report have been deleted here. What the page shows stays until you leave it.";
  job.player = null;
}

function forget() {
  upload?.abort();
  upload = null;
  if (!job) return;
  clearTimeout(job.timer);
  job.timeline?.close();
  at("stage").replaceChildren();
  fetch(`/jobs/${job.id}`, { method: "DELETE" }).catch(() => null); // the server deletes it later by itself
  job = null;
}

function restart() {
  forget();
  at("file").value = "";
  show("start");
  window.scrollTo(0, 0);
  at("file").focus();
}

// ---- start ----

function sentence() {
  return `a video or image of up to ${+(limits.max_upload_bytes / 2 ** 20).toFixed(1)} MB and ${limits.max_seconds / 60 >= 1
    ? `${+(limits.max_seconds / 60).toFixed(1)} minutes` : `${limits.max_seconds} seconds`}`;
}

async function start() {
  const health = await fetch("/health").then((response) => response.json()).catch(() => null);
  if (!health) { showProblem(lostServer()); return; }
  limits = health.limits;
  at("version").textContent = `deepfake_detect ${health.version}`;
  at("allowed").textContent = capital(sentence());
  at("keep").textContent = `${+(limits.keep_seconds / 60).toFixed(1)} minutes`;
}

function acceptDrops() {
  const isBusy = () => !at("work").hidden;
  addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) at("drop").classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    at("drop").classList.remove("over");
    const file = event.dataTransfer?.files[0];
    if (!file || isBusy()) return;
    forget();
    begin(file);
  });
}

at("file").onchange = () => begin(at("file").files[0]);
at("cancel").onclick = at("again").onclick = at("another").onclick = restart;
addEventListener("pagehide", () => { if (job) navigator.sendBeacon(`/jobs/${job.id}/leave`); });
addEventListener("pageshow", (event) => { if (event.persisted) { job = null; restart(); } });
acceptDrops();
start();
