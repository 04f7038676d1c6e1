"""The page in a real browser: upload, progress, timeline, downloads, leaving."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepfake_detect.app.jobs import Progress, ScoredClip, Task
from deepfake_detect.app.options import Limits
from tests.app.browser import CHROMIUM, Browser
from tests.app.serving import FakeScorer, Served, until

pytest.importorskip("websockets", reason="the browser is driven over a web socket: pip install websockets")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
TIMES = (0.0, 0.4, 0.8, 1.2, 1.6)


class PageScorer(FakeScorer):
    """Finds two people in every clip, the second of them in some frames only."""

    def score(
        self, task: Task, on_progress: Callable[[Progress], None], is_cancelled: Callable[[], bool]
    ) -> ScoredClip:
        on_progress(Progress("looking", 2, 5))
        super().score(task, lambda progress: None, is_cancelled)
        frames = [
            {
                "frame_index": number,
                "time_seconds": seconds,
                "faces": [
                    {"track_id": track, "fake_probability": 0.1 + 0.15 * number + 0.1 * track}
                    for track in ((0, 1) if number % 2 else (0,))
                ],
            }
            for number, seconds in enumerate(TIMES)
        ]
        tracks = [
            {"track_id": track, "num_frames": 5 - 3 * track, "fake_probability": 0.4, "decides": track == 0}
            for track in (0, 1)
        ]
        detector = {"name": "made", "version": "1", "uncertain_low": 0.3}
        detector |= {"uncertain_high": 0.7, "aggregation_rule": "mean"}
        score = {"video": task.name, "verdict": "uncertain", "fake_probability": 0.4, "num_frames_scored": 5}
        score |= {"frames": frames, "tracks": tracks, "limits": [], "detector": detector}
        score |= {"decision_rule": {"uncertain_low": 0.3, "uncertain_high": 0.7}}
        moment = {"track_id": 0, "frame_index": 4, "time_seconds": 1.6, "fake_probability": 0.7}
        page = {
            "headline": "Undecided <b>here</b>",
            "sign": "?",
            "meaning": "It cannot tell.",
            "interval": "",
            "reasons_title": "Why undecided",
            "reasons": ["the face is small"],
            "advice": ["Look for a better copy."],
            "caveat": "No proof.",
            "verdicts": {"0": "Undecided", "1": "Undecided"},
            "why_no_maps": "",
            "heat_map_note": "How to read heat maps.",
            "credentials": "signed by <i>A</i>",
            "moments": [{**moment, "is_suspicious": True, "face": PIXEL, "heat_map": PIXEL}],
        }
        return ScoredClip(score, page, "<p>the report</p>")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[tuple[Browser, Served]]:
    served = Served(PageScorer(), Limits(max_upload_mb=1), tmp_path / "uploads")
    with served, Browser(tmp_path) as browser:
        browser.open(served.address)
        browser.until("document.getElementById('allowed').textContent")
        yield browser, served


def is_shown(part: str) -> str:
    return f"!document.getElementById('{part}').hidden"


def upload(browser: Browser, clip: Path) -> None:
    browser.choose_file("#file", clip)
    browser.until(is_shown("result"))


def place_of(browser: Browser, selector: str) -> tuple[float, float]:
    """Return the middle of an element in the window, scrolled to."""
    one = f"document.querySelector({json.dumps(selector)})"
    browser.value(f"{one}.scrollIntoView({{ block: 'center', behavior: 'instant' }})")
    box = browser.value(f"{one}.getBoundingClientRect().toJSON()")
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_from_upload_to_download(page: tuple[Browser, Served], portrait_clip: Path) -> None:
    browser, served = page
    served.scorer.gate.clear()
    browser.choose_file("#file", portrait_clip)
    browser.until("document.querySelector('li.now')?.dataset.stage === 'looking'")
    assert browser.value("document.getElementById('work-note').textContent") == "2 of 5 frames"
    assert browser.value("document.getElementById('bar').value") == pytest.approx(0.4)
    served.scorer.gate.set()
    browser.until(is_shown("result"))
    assert browser.value("document.getElementById('headline').textContent") == "Undecided <b>here</b>"
    words = browser.value("document.getElementById('credentials-part').innerText")
    assert words.endswith("do not affect it): signed by <i>A</i>")
    assert browser.value("document.querySelectorAll('#people li').length") == 2
    assert browser.value("document.querySelectorAll('#suspicious img').length") == 2

    # One after the other: the browser may drop a download that another one follows at once.
    for link, name in (("json", "portrait.json"), ("report", "portrait-report.html")):
        browser.value(f"document.getElementById('{link}').click()")
        until((browser.downloads / name).exists)
    assert json.loads((browser.downloads / "portrait.json").read_text())["video"] == "portrait.mp4"
    assert (browser.downloads / "portrait-report.html").read_text() == "<p>the report</p>"

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
    assert tip == "0:01.2, frame 3: person 1, 55\u00a0%"
    playhead = "document.querySelector('.playhead').getBoundingClientRect().x"
    browser.until(f"Math.abs({playhead} - {x}) < 3")

    browser.value("document.getElementById('timeline').focus()")
    browser.press("ArrowRight")
    browser.until("Math.abs(document.querySelector('video').currentTime - 1.6) < 0.05")
    value = "document.getElementById('timeline').getAttribute('aria-valuetext')"
    assert browser.value(value) == "0:01.6: person 1 70\u00a0%"
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
    text = tmp_path / "text.mp4"
    text.write_text("hello, world\n")
    browser.choose_file("#file", text)
    browser.until(is_shown("problem"))
    words = "document.getElementById('problem').innerText"
    assert "text.mp4: is not a supported video or image." in browser.value(words)
    browser.value("document.getElementById('again').click()")
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(3 * 2**20))
    browser.choose_file("#file", large)
    browser.until(is_shown("problem"))
    assert "has 3 MB" in browser.value(words)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(portrait_clip.read_bytes())
    browser.value("document.getElementById('again').click()")
    browser.choose_file("#file", bad)
    browser.until("document.getElementById('problem-came').textContent.includes('is a text file')")
    browser.value("document.getElementById('again').click()")
    upload(browser, portrait_clip)
    browser.value("document.getElementById('another').click()")
    assert browser.value(is_shown("start"))
    until(lambda: served.uploads() == [])


@pytest.mark.parametrize("stage", ["waiting", "looking"])
def test_cancelling_takes_the_upload_away(
    page: tuple[Browser, Served], portrait_clip: Path, stage: str
) -> None:
    browser, served = page
    served.scorer.gate.clear()
    if stage == "waiting":
        served.send("/jobs", name="other.mp4")
        until(lambda: served.scorer.names)
    browser.choose_file("#file", portrait_clip)
    browser.until(f"document.querySelector('li.now')?.dataset.stage === '{stage}'")
    browser.value("document.getElementById('cancel').click()")
    assert browser.value(is_shown("start"))
    until(lambda: len(served.uploads()) == (1 if stage == "waiting" else 0))
