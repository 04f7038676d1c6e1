"""Frames -> faces -> crops, people followed over time.

mtcnn      detect_faces, in three modes: MTCNN with the networks and weights of facenet-pytorch
  dense      every frame of a clip, searched near the faces of the frame before
  networks   the three networks in PyTorch, arranged to run fast
finder     the default mode with any runtime's networks
  cascade    one frame: proposals, refined, faces
  mosaic     the frame in all sizes at which it is searched, as one picture
  sums       means over windows of a frame from its summed-area table
  arrays     what numpy and torch name differently
  parallel   a frame per thread
crops      a square with margin around a face, upright or aligned by its landmarks
tracking   which face of one frame is whose in the next
follow     frames in, tracked crops out: what extraction and scoring both do

Only the first three need PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepfake_detect.lazy import lazy_names

if TYPE_CHECKING:
    from deepfake_detect.faces.crops import check_geometry, crop_face, crop_side
    from deepfake_detect.faces.finder import FaceFinder, default_min_face
    from deepfake_detect.faces.follow import FollowedFace, FollowedFrame, confirmed_tracks, follow_faces
    from deepfake_detect.faces.mtcnn import FaceDetector, detect_faces
    from deepfake_detect.faces.tracking import Tracker, main_track

# Loaded on first use: faces can be found and followed without PyTorch.
_HOMES = {
    "FaceDetector": "mtcnn",
    "FaceFinder": "finder",
    "FollowedFace": "follow",
    "FollowedFrame": "follow",
    "Tracker": "tracking",
    "check_geometry": "crops",
    "confirmed_tracks": "follow",
    "crop_face": "crops",
    "crop_side": "crops",
    "default_min_face": "finder",
    "detect_faces": "mtcnn",
    "follow_faces": "follow",
    "main_track": "tracking",
}

__all__ = [
    "FaceDetector",
    "FaceFinder",
    "FollowedFace",
    "FollowedFrame",
    "Tracker",
    "check_geometry",
    "confirmed_tracks",
    "crop_face",
    "crop_side",
    "default_min_face",
    "detect_faces",
    "follow_faces",
    "main_track",
]

__getattr__ = lazy_names(__name__, _HOMES)
