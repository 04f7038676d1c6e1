"""What a network makes of faces, kept in a file, and what can be learned from that without training it.

extractor    crops -> features: any backbone or detector, any layer, pooled or as maps
feature_file HDF5 of features by split and method: reader, torch dataset, writer
extract      manifest -> feature file, resumable
heads        classical classifiers as arrays: features -> logits, without scikit-learn
classifiers  scikit-learn pipelines, chosen on validation videos
detector     encoder and classical classifier as a detector file
neighbors   the nearest faces of a face, and how often they are of the same person
across       faces that look alike in two splits, in the words of the audit
clusters     groups of like faces, and their places on a map
face_map     that map as a page to zoom into
"""
