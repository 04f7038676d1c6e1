from .detector import RuntimeDetector as RuntimeDetector
from .detector import load_runtime as load_runtime
from .export import FORMATS as FORMATS
from .export import PRECISIONS as PRECISIONS
from .export import ExportReport as ExportReport
from .export import export_detector as export_detector
from .mtcnn import export_face_networks as export_face_networks
from .sessions import RUNTIMES as RUNTIMES
