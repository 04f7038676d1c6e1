"""The zoo: published detectors by name, fetched, verified and converted into detector files.

==========  ==============================================================================
entry       what an entry says; imports no PyTorch, as the next
entries     ``ZOO``, the table, put together from one module a family
store       the files in the cache folder: fetch and find
verify      hashes, layout and logits of a fetched detector
convert     published files -> ``detector.safetensors``; imports PyTorch
==========  ==============================================================================
"""
