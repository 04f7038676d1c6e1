from .config import ExtractionConfig as ExtractionConfig
from .dataset import extract_faces as extract_faces
from .run import ExtractionReport as ExtractionReport
from .run import extract_videos as extract_videos
