"""From a video file to upright RGB frames, and back to a video file.

    metadata.py   read_metadata: what the file declares, checked against the pictures it holds
    sampling.py   which frames of a clip to take: EvenlySpaced, EveryKth, ByRate, AllFrames
    decode.py     read_frames: decode once, in order, and convert only the frames asked for
    opencv.py     both by OpenCV, where PyAV is not installed
    choice.py     which of the two
    files.py      what can be told of a file without decoding it
    sequence.py   frames stored as pictures, in a folder or a tar
    encode.py     VideoWriter: RGB frames to an H.264 file, with the sound of another file

PyAV (FFmpeg's libraries) is the decoder wherever it is installed. It gives what the others give only
in part: one pass in presentation order without a seek per frame, exact timestamps, the file's
rotation, and sight of the packets, which tells how many pictures a file really holds without
decoding them. FFmpeg's own messages stay off standard error: PyAV drops them unless a program turns
them on, and every fault comes out as one of the errors of ``deepfake_detect.errors``.

Example:
    >>> from deepfake_detect.video import EvenlySpaced, read_frames
    >>> for frame in read_frames("clip.mp4", sampling=EvenlySpaced(8)):  # doctest: +SKIP
    ...     print(frame.frame_index, frame.time_seconds, frame.image.shape)
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
