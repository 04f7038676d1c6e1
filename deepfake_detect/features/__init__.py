"""A network's features of faces, stored in a file, and what can be learned from them without training it.

options      options of extraction, classifiers and lookups
extractor    crops -> features: any backbone or detector, any layer, pooled or as maps
feature_file HDF5 of features by split and method: reader, torch dataset, writer
extract      extract_features: manifest -> feature file, resumable
classifiers  train_features: scikit-learn pipelines, chosen on validation videos, as a detector
from_sklearn fitted pipelines as tensors
neighbors    the nearest faces of a face, and how often they show the same person
lookup       find_neighbors, measure_retrieval: the same, by path
across       similar_across_splits: similar faces in two splits
"""
