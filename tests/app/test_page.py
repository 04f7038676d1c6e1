"""The page in a real browser: uploads, progress, timeline, downloads, reloading, leaving."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.app import jobs as jobs_module
from deepfake_detect.app import server as server_module
from deepfake_detect.app.jobs import Progress, ScoredClip, Task
from deepfake_detect.app.options import Limits
from deepfake_detect.app.uploads import Upload
from deepfake_detect.io.media import media_kind
from deepfake_detect.records import ClipResult, DetectorInfo, FaceScore, FrameScore, TrackScore
from deepfake_detect.report.timeline import timeline_chart
from deepfake_detect.report.words import verdict_words
from tests.app.browser import CHROMIUM, Browser
from tests.app.serving import FakeScorer, Served, until

pytest.importorskip("websockets", reason="the browser is driven over a web socket: pip install websockets")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
TIMES = (0.0, 0.4, 0.8, 1.2, 1.6)


def made_result(name: str) -> ClipResult:
    """Return a result with two people, the second of them in some frames only."""
    boxes = [np.array([left, 40, left + 80, 140], np.float32) for left in (40, 180)]
    frames = tuple(
        FrameScore(
            number,
            seconds,
            tuple(
                FaceScore(boxes[track], track, 0.99, 0.1 + 0.15 * number + 0.1 * track)
                for track in ((0, 1) if number % 2 else (0,))
            ),
        )
        for number, seconds in enumerate(TIMES)
    )
    tracks = tuple(TrackScore(track, 5 - 3 * track, 0.4, track == 0, "uncertain") for track in (0, 1))
    info = DetectorInfo("made", "1", 0.3, 0.7, "mean")
    return ClipResult(name, "uncertain", 0.4, 5, frames, tracks, info, frame_size=(320, 240))


class PageScorer(FakeScorer):
    """Gives every clip the same result; one whose name begins with ``still`` is an image."""

    def score(
        self, task: Task, on_progress: Callable[[Progress], None], is_cancelled: Callable[[], bool]
    ) -> ScoredClip:
        on_progress(Progress("looking", 2, 5))
        super().score(task, lambda progress: None, is_cancelled)
        result = made_result(task.name)
        if task.is_image:
            result = replace(result, frames=result.frames[1:2], num_frames_scored=1)
        moment = {"track_id": 0, "frame_index": 4, "time_seconds": 1.6, "fake_probability": 0.7}
        page = {
            **asdict(verdict_words(result)),
            "headline": "Undecided <b>here</b>",
            "caveat": "No proof.",
            "verdicts": {"0": "Undecided", "1": "Undecided"},
            "why_no_maps": "",
            "heat_map_note": "How to read heat maps.",
            "credentials": "signed by <i>A</i>",
            "moments": [{**moment, "is_suspicious": True, "face": PIXEL, "heat_map": PIXEL}],
            "chart": None if task.is_image else timeline_chart(result, duration_seconds=2.0),
            "thumbnails": {str(number): PIXEL for number in range(5)},
            "frames": {"1": PIXEL},
        }
        return ScoredClip(result.to_dict(), page, "<p>the report</p>")


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Browser, Served]]:
    monkeypatch.setattr(jobs_module, "LEAVE_SECONDS", 1.5)
    monkeypatch.setattr(server_module, "_EXPIRE_SECONDS", 0.1)
    served = Served(PageScorer(), Limits(max_upload_mb=1), tmp_path / "uploads", allow_url=True)
    with served, Browser(tmp_path) as browser:
        browser.open(served.address)
        browser.until("document.getElementById('allowed').textContent")
        yield browser, served


def is_shown(part: str) -> str:
    return f"!document.getElementById('{part}').hidden"


def upload(browser: Browser, clip: Path) -> None:
    browser.choose_file("#file", clip)
    browser.until(is_shown("result"))


def stages(browser: Browser) -> list[str]:
    found: list[str] = browser.value("[...document.querySelectorAll('.job')].map((row) => row.dataset.stage)")
    return found


def place_of(browser: Browser, selector: str) -> tuple[float, float]:
    """Return the middle of an element in the window, scrolled to."""
    one = f"document.querySelector({json.dumps(selector)})"
    browser.value(f"{one}.scrollIntoView({{ block: 'center', behavior: 'instant' }})")
    box = browser.value(f"{one}.getBoundingClientRect().toJSON()")
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_from_upload_to_download(
    page: tuple[Browser, Served], portrait_clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    browser, served = page
    annotated = tmp_path / "annotated.mp4"
    annotated.write_bytes(b"with boxes")
    monkeypatch.setattr(server_module, "annotated_clip", lambda job, max_seconds: annotated)
    served.scorer.gate.clear()
    browser.choose_file("#file", portrait_clip)
    browser.until("document.querySelector('.job')?.dataset.stage === 'looking'")
    note = browser.value("document.querySelector('.job .note').textContent")
    assert note == "Finding and scoring faces: 2 of 5 frames"
    assert browser.value("document.querySelector('.job progress').value") == pytest.approx(0.4)
    served.scorer.gate.set()
    browser.until(is_shown("result"))
    assert browser.value("document.getElementById('headline').textContent") == "Undecided <b>here</b>"
    words = browser.value("document.getElementById('credentials-part').innerText")
    assert words.endswith("do not affect it): signed by <i>A</i>")
    assert browser.value("document.querySelectorAll('#people li').length") == 2
    assert browser.value("document.querySelectorAll('#suspicious img').length") == 2
    assert "Why undecided" in browser.value("document.getElementById('verdict').innerText")

    # One after the other: the browser may drop a download that another one follows at once.
    downloads = {
        "json": "portrait.json",
        "report": "portrait-report.html",
        "annotated": "portrait-boxes.mp4",
    }
    for link, name in downloads.items():
        browser.value(f"document.getElementById('{link}').click()")
        until((browser.downloads / name).exists)
    assert json.loads((browser.downloads / "portrait.json").read_text())["video"] == "portrait.mp4"
    assert (browser.downloads / "portrait-report.html").read_text() == "<p>the report</p>"
    assert (browser.downloads / "portrait-boxes.mp4").read_bytes() == b"with boxes"

    asked = browser.value("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith((served.address, "data:", "blob:")) for name in asked)
    assert browser.troubles() == []
    assert len(served.uploads()) == 1
    browser.open("about:blank#left")
    until(lambda: served.uploads() == [])


def test_the_timeline_and_the_player_are_linked(page: tuple[Browser, Served], portrait_clip: Path) -> None:
    browser, _ = page
    if not browser.value("document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.64001E\"')"):
        pytest.skip("this Chromium plays no H.264")
    upload(browser, portrait_clip)
    browser.until("document.querySelector('video').readyState >= 1")
    x, y = place_of(browser, "#timeline g:first-of-type .point:nth-of-type(4)")
    browser.click(x, y)
    browser.until("Math.abs(document.querySelector('video').currentTime - 1.2) < 0.05")
    tip = browser.value("document.querySelector('.tip').textContent")
    assert tip == "1.20 s, frame 3: person 1: 55%, person 2: 65%"
    playhead = "document.querySelector('.playhead').getBoundingClientRect().x"
    browser.until(f"Math.abs({playhead} - {x}) < 3")
    browser.until(
        "[...document.querySelectorAll('#stage .box')].map((box) => box.textContent).join() === '1,2'"
    )

    browser.value("document.getElementById('timeline').focus()")
    browser.press("ArrowRight")
    browser.until("Math.abs(document.querySelector('video').currentTime - 1.6) < 0.05")
    value = "document.getElementById('timeline').getAttribute('aria-valuetext')"
    assert browser.value(value) == "1.60 s, frame 4: person 1: 70%"
    browser.press("Home")
    browser.until("document.querySelector('video').currentTime < 0.05")

    browser.value("document.querySelector('video').currentTime = 0.8")
    third = place_of(browser, "#timeline g:first-of-type .point:nth-of-type(3)")[0]
    browser.until(f"Math.abs({playhead} - {third}) < 3")
    browser.click(*place_of(browser, "#suspicious button"))
    browser.until("Math.abs(document.querySelector('video').currentTime - 1.6) < 0.05")
    assert browser.troubles() == []


def test_bad_files_are_told_and_another_can_follow(
    page: tuple[Browser, Served], portrait_clip: Path, tmp_path: Path
) -> None:
    browser, served = page
    text, large, bad = (tmp_path / name for name in ("text.mp4", "large.mp4", "bad.mp4"))
    text.write_text("hello, world\n")
    large.write_bytes(bytes(3 * 2**20))
    bad.write_bytes(portrait_clip.read_bytes())
    browser.choose_file("#file", text, large, bad)
    browser.until("document.querySelectorAll('.job.failed').length === 3")
    words = browser.value("document.getElementById('list').innerText")
    assert "text.mp4: is not a supported video or image." in words
    assert "large.mp4: has 3 MB." in words
    assert "bad.mp4: is a text file." in words
    assert "What to do: " in words
    browser.choose_file("#file", portrait_clip)
    browser.until("document.querySelector('.job:last-child').dataset.stage === 'done'")
    for _ in range(4):
        browser.value("document.querySelector('.job .remove').click()")
    assert browser.value("document.getElementById('list-part').hidden")
    until(lambda: served.uploads() == [])


@pytest.mark.parametrize("stage", ["waiting", "looking"])
def test_cancelling_takes_the_upload_away(
    page: tuple[Browser, Served], portrait_clip: Path, stage: str
) -> None:
    browser, served = page
    served.scorer.gate.clear()
    if stage == "waiting":
        served.send("/v1/jobs", name="other.mp4")
        until(lambda: served.scorer.names)
    browser.choose_file("#file", portrait_clip)
    browser.until(f"document.querySelector('.job')?.dataset.stage === '{stage}'")
    browser.value("document.querySelector('.job .remove').click()")
    assert stages(browser) == []
    until(lambda: len(served.uploads()) == (1 if stage == "waiting" else 0))


def test_several_files_have_a_row_each_and_survive_a_reload(
    page: tuple[Browser, Served], portrait_clip: Path, tmp_path: Path
) -> None:
    browser, served = page
    clips = [shutil.copy(portrait_clip, tmp_path / name) for name in ("a.mp4", "b.mp4", "c.mp4")]
    browser.choose_file("#file", *clips)
    browser.until("document.querySelectorAll('.job[data-stage=done]').length === 3")
    assert browser.value("document.getElementById('result').hidden")
    note = browser.value("document.querySelector('.job .note').textContent")
    assert note == "Undecided <b>here</b>, 40%"
    browser.value("document.querySelector('.job:nth-child(2) a').click()")
    browser.until(is_shown("result"))
    assert browser.value("document.getElementById('clip-name').textContent") == "b.mp4"
    address = browser.value("location.href")
    assert "#job/" in address

    browser.call("Page.reload")
    browser.until("document.querySelectorAll('.job[data-stage=done]').length === 3")
    browser.until(is_shown("result"))
    assert browser.value("location.href") == address
    assert browser.value("document.getElementById('clip-name').textContent") == "b.mp4"
    browser.value("new Promise((resolve) => setTimeout(resolve, 2000))")  # longer than a job without a page
    assert len(served.uploads()) == 3

    browser.value("document.querySelector('.job:nth-child(2) .remove').click()")
    browser.until("document.getElementById('result').hidden")
    until(lambda: len(served.uploads()) == 2)
    browser.value(f"location.href = {json.dumps(address)}")
    browser.until("document.querySelector('.job.failed') !== null")
    assert "was deleted" in browser.value("document.querySelector('.job.failed').innerText")


def test_frames_stand_in_for_what_the_browser_cannot_play(
    page: tuple[Browser, Served], portrait: np.ndarray, tmp_path: Path
) -> None:
    browser, _ = page
    clip = tmp_path / "old.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))  # type: ignore[attr-defined]
    for _ in range(5):
        writer.write(cv2.resize(portrait, (64, 48)))
    writer.release()
    upload(browser, clip)
    browser.until(is_shown("unplayable"))
    assert browser.value("document.querySelector('#stage img').alt") == "frame 0"
    browser.value("document.getElementById('timeline').focus()")
    browser.press("ArrowRight")
    assert browser.value("document.querySelector('#stage img').alt") == "frame 1"
    numbers = "[...document.querySelectorAll('#stage .box')].map((box) => box.textContent)"
    assert browser.value(numbers) == ["1", "2"]
    left = browser.value("document.querySelector('#stage .box').style.left")
    assert left == "12.5%"


def test_a_clip_of_the_web_where_the_server_allows_it(
    page: tuple[Browser, Served], portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, served = page
    kind = media_kind(portrait_clip.read_bytes())
    assert kind is not None

    def fetched(url: str, folder: Path, limits: Limits) -> Upload:
        assert url == "https://example.org/a.mp4?b=c&d"
        return Upload(Path(shutil.copy(portrait_clip, folder / "1.mp4")), "a.mp4", kind, 1)

    monkeypatch.setattr(server_module, "fetch_upload", fetched)
    browser.value("document.getElementById('link').value = 'https://example.org/a.mp4?b=c&d'")
    browser.value("document.querySelector('#link-form button').click()")
    browser.until(is_shown("result"))
    assert browser.value("document.getElementById('clip-name').textContent") == "a.mp4"
    with Served(PageScorer(), Limits(), served.folder / "other") as other:
        assert other.ask("POST", "/v1/links?url=https://example.org/").status in (404, 405)
        browser.open(other.address)
        browser.until("document.getElementById('allowed').textContent")
        assert browser.value("document.getElementById('link-form').hidden")


@pytest.mark.parametrize(("width", "is_dark"), [(1100, False), (390, True)])
def test_the_page_is_accessible_and_fits(
    width: int, is_dark: bool, portrait: np.ndarray, portrait_clip: Path, tmp_path: Path
) -> None:
    pytest.importorskip("axe_core_python", reason="the rules of accessibility: pip install axe-core-python")
    still, text = tmp_path / "still.png", tmp_path / "text.mp4"
    cv2.imwrite(str(still), portrait)
    text.write_text("hello, world\n")
    served = Served(PageScorer(), Limits(), tmp_path / "uploads", allow_url=True)
    with served, Browser(tmp_path, width=width, is_dark=is_dark) as browser:
        browser.open(served.address)
        browser.until("document.getElementById('allowed').textContent")
        assert browser.violations() == []
        upload(browser, still)
        assert browser.value("document.querySelectorAll('#stage .box').length") == 2
        browser.choose_file("#file", text, portrait_clip)
        browser.until("document.querySelectorAll('.job a').length === 2")
        browser.value("document.querySelector('.job:last-child a').click()")
        browser.until("document.getElementById('clip-name').textContent === 'portrait.mp4'")
        assert browser.violations() == []
        assert browser.value("document.documentElement.scrollWidth") <= width
