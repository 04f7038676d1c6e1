"""HDR (PQ, HLG) and BT.2020 frames as frames of BT.709, by FFmpeg's perceptual tone mapping.

By FFmpeg's filter ``scale``: PyAV's own conversion maps them from version 18 on only, and Python 3.10 has 17.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from av import VideoFrame
from av.filter import Graph

_LOCAL = threading.local()
_MOST_GRAPHS = 4  # kept per thread


class _Conversion(NamedTuple):
    """What a graph is made for."""

    width: int
    height: int
    pixel_format: str
    colorspace: int
    color_range: int
    shown_width: int
    shown_height: int


def to_bt709(frame: VideoFrame, *, width: int, height: int) -> VideoFrame:
    """Map a frame to BT.709 as ``bgr24``, scaled to ``width`` x ``height`` pixels.

    The first frame of a size takes seconds, in which FFmpeg computes its tables; they are kept for the
    next frames and clips of that size.
    """
    kind = _Conversion(
        frame.width,
        frame.height,
        frame.format.name,
        int(frame.colorspace),
        int(frame.color_range),
        width,
        height,
    )
    graphs: dict[_Conversion, Graph] = _LOCAL.__dict__.setdefault("graphs", {})
    graph = graphs.pop(kind, None) or _graph_of(kind)
    graph.push(frame)
    mapped = graph.pull()
    assert isinstance(mapped, VideoFrame)
    graphs[kind] = graph  # only now: a graph that failed may hold a frame
    if len(graphs) > _MOST_GRAPHS:
        del graphs[next(iter(graphs))]
    return mapped


def _graph_of(kind: _Conversion) -> Graph:
    graph = Graph()
    source = graph.add(
        "buffer",
        video_size=f"{kind.width}x{kind.height}",
        pix_fmt=kind.pixel_format,
        time_base="1/1000",
        colorspace=str(kind.colorspace),
        range=str(kind.color_range),
    )
    scale = graph.add(
        "scale",
        w=str(kind.shown_width),
        h=str(kind.shown_height),
        flags="bicubic",
        out_transfer="bt709",
        out_primaries="bt709",
        out_range="pc",
    )
    graph.link_nodes(source, scale, graph.add("format", "bgr24"), graph.add("buffersink")).configure()
    return graph
