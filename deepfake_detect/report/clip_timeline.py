"""The drawing of a clip's probabilities over time: SVG that shows each frame under the pointer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

from deepfake_detect.records import ClipResult
from deepfake_detect.report.drawing import COLORS

_WIDTH, _HEIGHT = 960, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 10, 34
_NUM_TICKS = 8

TIMELINE_STYLE = """
.timeline { position: relative; }
.timeline svg { width: 100%; height: auto; display: block; touch-action: pan-y; }
.timeline text { font: 12px system-ui, sans-serif; fill: #555; }
.timeline .hint { position: absolute; top: 0; pointer-events: none; background: #fff; border: 1px solid #bbb;
       border-radius: .3rem; padding: .4rem; font-size: .85rem; box-shadow: 0 2px 8px #0003; z-index: 1; }
.timeline .hint img { display: block; max-width: 12rem; margin-bottom: .3rem; }
.timeline .legend span { margin-right: 1.2rem; font-size: .88rem; display: inline-block; }
@media print { .timeline .hint { display: none; } .timeline { break-inside: avoid; } }
"""

_SCRIPT = """
for (const box of document.querySelectorAll(".timeline:not([data-live])")) {
  box.dataset.live = "";
  const frames = JSON.parse(box.querySelector("script[type='application/json']").textContent);
  const [drawing, line, hint] = ["svg", ".at", ".hint"].map((name) => box.querySelector(name));
  const show = (event) => {
    const place = drawing.getBoundingClientRect();
    const x = (event.clientX - place.left) / place.width * drawing.viewBox.baseVal.width;
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
    const left = frame.x / drawing.viewBox.baseVal.width * place.width;
    const isRight = left > place.width / 2;
    hint.style.left = isRight ? "auto" : left + 12 + "px";
    hint.style.right = isRight ? place.width - left + 12 + "px" : "auto";
  };
  drawing.addEventListener("pointermove", show);
  drawing.addEventListener("pointerdown", show);
  drawing.addEventListener("pointerleave", () => { hint.hidden = true; line.style.visibility = "hidden"; });
}
"""


def timeline_html(score: ClipResult, pictures: Mapping[int, str]) -> str:
    """Return the timeline of a clip with at least one sampled frame.

    Args:
        score: The clip; one line is drawn a person.
        pictures: URL of a small picture by frame index, shown under the pointer.
    """
    times = [frame.time_seconds for frame in score.frames]
    # A picture has no time, and a clip of one frame no length.
    is_timed = len(times) > 1 and times[-1] > times[0]
    span = (times[0], times[-1]) if is_timed else (-1.0, 1.0)
    places = {frame.frame_index: _x(frame.time_seconds if is_timed else 0.0, span) for frame in score.frames}
    shapes = [*_scale(score, span if is_timed else None), *_lines(score, places)]
    label = escape(f"Fake probability over time: {score.verdict}")
    return (
        f'<div class="timeline"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        + "".join(shapes)
        + f'<line class="at" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" stroke="#333" style="visibility:hidden"/>'
        + f'</svg><div class="hint" hidden></div>{_legend(score)}'
        + f'<script type="application/json">{_frames_json(score, places, pictures)}</script></div>'
        + f"<script>{_SCRIPT}</script>"
    )


def _x(time_seconds: float, span: tuple[float, float]) -> float:
    share = (time_seconds - span[0]) / (span[1] - span[0])
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 2)


def _y(probability: float) -> float:
    return round(_HEIGHT - _BOTTOM - probability * (_HEIGHT - _TOP - _BOTTOM), 2)


def _scale(score: ClipResult, span: tuple[float, float] | None) -> list[str]:
    """Return axes, the band called uncertain and the threshold."""
    left, right, detector = _LEFT, _WIDTH - _RIGHT, score.detector
    top, height = _y(detector.uncertain_high), _y(detector.uncertain_low) - _y(detector.uncertain_high)
    shapes = [f'<rect x="{left}" y="{top}" width="{right - left}" height="{height:.2f}" fill="#e9e9ec"/>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        shapes.append(f'<line x1="{left}" x2="{right}" y1="{_y(share)}" y2="{_y(share)}" stroke="#ddd"/>')
        shapes.append(f'<text x="{left - 8}" y="{_y(share) + 4}" text-anchor="end">{share:g}</text>')
    threshold = _y(detector.threshold)
    shapes.append(
        f'<line x1="{left}" x2="{right}" y1="{threshold}" y2="{threshold}" stroke="#222" '
        'stroke-dasharray="6 4"/>'
    )
    if span is not None:
        for number in range(_NUM_TICKS + 1):
            time = span[0] + (span[1] - span[0]) * number / _NUM_TICKS
            x, anchor = _x(time, span), "end" if number == _NUM_TICKS else "middle"
            shapes.append(f'<text x="{x}" y="{_HEIGHT - 12}" text-anchor="{anchor}">{time:.2f} s</text>')
    return shapes


def _lines(score: ClipResult, places: Mapping[int, float]) -> list[str]:
    shapes = []
    for number, track in enumerate(score.tracks):
        points = [
            (places[frame.frame_index], _y(face.fake_probability))
            for frame in score.frames
            for face in frame.faces
            if face.track_id == track.track_id
        ]
        color, width = COLORS[number % len(COLORS)], 2.5 if track.decides else 1.2
        path = " ".join(f"{x},{y}" for x, y in points)
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>')
        shapes += [f'<circle cx="{x}" cy="{y}" r="3.2" fill="{color}"/>' for x, y in points]
    return shapes


def _legend(score: ClipResult) -> str:
    words = []
    for number, track in enumerate(score.tracks):
        counted = f"{track.num_frames} frame{'s' * (track.num_frames != 1)}"
        decides = ", decides" if track.decides and len(score.tracks) > 1 else ""
        words.append(
            f'<span><b style="color:{COLORS[number % len(COLORS)]}">&#9679;</b> person {track.track_id}: '
            f"mean {track.fake_probability:.2f}, {counted}{decides}</span>"
        )
    return f'<div class="legend">{"".join(words)}</div>'


def _frames_json(score: ClipResult, places: Mapping[int, float], pictures: Mapping[int, str]) -> str:
    frames = []
    for frame in score.frames:
        faces = [f"person {face.track_id}: {face.fake_probability:.2f}" for face in frame.faces]
        when = f"{frame.time_seconds:.2f} s, " if frame.time_seconds == frame.time_seconds else ""
        frames.append(
            {
                "x": places[frame.frame_index],
                "index": frame.frame_index,
                "words": f"{when}frame {frame.frame_index}: {', '.join(faces) or 'no face'}",
                "image": pictures.get(frame.frame_index),
            }
        )
    # Inside a script element only this sequence could end it.
    return json.dumps(frames).replace("</", "<\\/")
