for (const box of document.querySelectorAll(".timeline:not([data-live])")) {
  box.dataset.live = "";
  const frames = JSON.parse(box.querySelector("script[type='application/json']").textContent);
  const [drawing, line, hint] = ["svg", ".at", ".hint"].map((name) => box.querySelector(name));
  const show = (event) => {
    const bounds = drawing.getBoundingClientRect();
    const x = (event.clientX - bounds.left) / bounds.width * drawing.viewBox.baseVal.width;
    const frame = frames.reduce((a, b) => Math.abs(b.x - x) < Math.abs(a.x - x) ? b : a);
    line.setAttribute("x1", frame.x);
    line.setAttribute("x2", frame.x);
    line.style.visibility = "visible";
    hint.replaceChildren();
    if (frame.image) {
      const image = document.createElement("img");
      image.src = frame.image;
      image.alt = "frame " + frame.index;
      hint.append(image);
    }
    hint.append(frame.words);
    hint.hidden = false;
    const left = frame.x / drawing.viewBox.baseVal.width * bounds.width;
    const isRight = left > bounds.width / 2;
    hint.style.left = isRight ? "auto" : left + 12 + "px";
    hint.style.right = isRight ? bounds.width - left + 12 + "px" : "auto";
  };
  drawing.addEventListener("pointermove", show);
  drawing.addEventListener("pointerdown", show);
  drawing.addEventListener("pointerleave", () => { hint.hidden = true; line.style.visibility = "hidden"; });
}
