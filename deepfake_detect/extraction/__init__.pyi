from .config import ExtractionConfig as ExtractionConfig
from .run import ExtractionReport as ExtractionReport
from .run import extract_dataset as extract_dataset
