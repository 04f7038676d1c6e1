"""Video files to upright RGB frames, and frames to a video file.

    metadata.py   read_metadata: what the file declares, checked against the frames it holds
    sampling.py   which frames of a clip to read: EvenlySpaced, EveryKth, ByRate, AllFrames, FrameList
    decode.py     read_frames: decode once, in order, and convert only the wanted frames
    container.py  open files with PyAV and decode their packets
    files.py      checks of a file that need no decoding
    structure.py  containers whose parts do not fit together
    hdr.py        HDR frames as BT.709
    stills.py     images and animations, read by Pillow
    limits.py     DecodingLimits: most pixels, frames and seconds of a file
    sequence.py   frames stored as images, in a folder or a tar
    encode.py     VideoWriter: RGB frames to an H.264 file, with the audio of another file
    still.py      an image through H.264

PyAV (FFmpeg's libraries) is the decoder. It provides what others provide only in
part: one pass in presentation order without a seek per frame, exact timestamps, the file's rotation, and
access to the packets, which shows how many frames a file really holds without decoding them. FFmpeg's
own messages do not appear on standard error; every fault is one of the errors of
``deepfake_detect.errors``.

Example:
    >>> from deepfake_detect.video import EvenlySpaced, read_frames
    >>> for frame in read_frames("clip.mp4", sampling=EvenlySpaced(8)):  # doctest: +SKIP
    ...     print(frame.frame_index, frame.time_seconds, frame.image.shape)
"""

import lazy_loader

# The names are in __init__.pyi and load on first use: importing a decoder takes time.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
