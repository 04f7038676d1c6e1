"""Work on the machines of a Ray cluster; the only room that imports Ray.

pool    tasks -> results, by workers that hold their networks, whatever dies on the way
"""

from deepfake_detect.work.ray_engine import Lost, RayOptions, map_on_ray, ray_cluster

__all__ = ["Lost", "RayOptions", "map_on_ray", "ray_cluster"]
