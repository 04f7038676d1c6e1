// Links the chart of a clip with its frames: in the report and in notebooks with their thumbnails, on the
// page with the player. The chart is drawn elsewhere; its points have their frame's number as data-frame.
globalThis.linkTimeline = (box, frames, onChoose = () => {}) => {
  const [tip, line] = ["tip", "chosen-line"].map((name) => Object.assign(document.createElement("div"), { className: name, hidden: true }));
  box.append(line, tip);
  let chosen = 0;

  const describe = () => {
    box.setAttribute("aria-valuenow", chosen);
    box.setAttribute("aria-valuetext", frames[chosen].words);
  };
  const choose = (number) => {
    const { x, words, image } = frames[number];
    chosen = number;
    const isRight = x > 50;
    for (const one of [line, tip]) one.hidden = false;
    line.style.left = `${x}%`;
    tip.style.left = isRight ? "auto" : `calc(${x}% + 8px)`;
    tip.style.right = isRight ? `calc(${100 - x}% + 8px)` : "auto";
    tip.replaceChildren(...(image ? [Object.assign(document.createElement("img"), { src: image, alt: "" })] : []), words);
    for (const point of box.querySelectorAll(".point")) point.classList.toggle("chosen", Number(point.dataset.frame) === number);
    describe();
  };
  const nearest = (event) => {
    const bounds = box.getBoundingClientRect();
    const x = 100 * (event.clientX - bounds.left) / bounds.width;
    const distance = (frame) => Math.abs(frame.x - x);
    return frames.reduce((best, frame, number) => (distance(frame) < distance(frames[best]) ? number : best), 0);
  };
  const leave = () => {
    for (const one of [line, tip]) one.hidden = true;
    for (const point of box.querySelectorAll(".chosen")) point.classList.remove("chosen");
  };
  const last = frames.length - 1;
  const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5, Home: -last, End: last };

  box.tabIndex = 0;
  for (const [name, value] of Object.entries({ role: "slider", "aria-valuemin": 0, "aria-valuemax": last })) box.setAttribute(name, value);
  if (!box.hasAttribute("aria-label")) box.setAttribute("aria-label", "Frames of the clip");
  box.onpointermove = box.onpointerdown = (event) => choose(nearest(event));
  box.onpointerleave = box.onblur = leave;
  box.onclick = (event) => { choose(nearest(event)); onChoose(frames[chosen]); };
  box.onkeydown = (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    choose(Math.min(last, Math.max(0, chosen + steps[event.key])));
    onChoose(frames[chosen]);
  };
  describe();
};

for (const box of document.querySelectorAll(".timeline:not([role])")) {
  const data = box.querySelector("script[type='application/json']");
  if (data) globalThis.linkTimeline(box, JSON.parse(data.textContent));
}
