"""The course-book wing: GANs, the small-image classifier and its studies, Deep Dream, filters, face maps.

Imports the core; the core never imports it.
"""
