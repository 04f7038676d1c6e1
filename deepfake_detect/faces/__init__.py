"""Frames -> faces -> crops, people followed over time.

mtcnn      detect_faces, in three modes: MTCNN with the networks and weights of facenet-pytorch
  dense      every frame of a clip, searched near the faces of the frame before
  cascade    one frame: proposals, refined, faces
  networks   the three networks, arranged to run fast
  mosaic     the frame in all sizes at which it is searched, as one picture
  sums       means over windows of a frame from its summed-area table
  parallel   a frame per thread
crops      a square with margin around a face, upright or aligned by its landmarks
tracking   which face of one frame is whose in the next
follow     frames in, tracked crops out: what extraction and scoring both do
"""

from deepfake_detect.faces.crops import check_geometry, crop_face, crop_side
from deepfake_detect.faces.follow import FollowedFace, FollowedFrame, confirmed_tracks, follow_faces
from deepfake_detect.faces.mtcnn import FaceDetector, default_min_face, detect_faces
from deepfake_detect.faces.tracking import Tracker, main_track

__all__ = [
    "FaceDetector",
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
