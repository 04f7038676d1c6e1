"""A web page and an HTTP API that score uploaded clips on this computer; nothing leaves it.

    options         what may be uploaded, how much of it, and where the server listens
    request_errors  why a request was rejected, in words for its sender
    fair_queue      whose turn it is
    uploads, links  a request's body, or a clip of the web, onto the disk
    jobs            uploads from the queue to a result, and to their deletion
    results         content of the page: words, faces, report
    annotated       the clip with boxes, when the page asks for it
    worker          a process that scores, separate from the server's
    guard           which requests are accepted: own host names and own origin
    schemas         what the responses hold, for the OpenAPI document
    http            connections and the log of requests
    server          the routes
    serve           port, workers and server, until the user ends it

Only `worker` and `results` load the detector, and they run in a process of their own: a file that
crashes a decoder takes down the worker, not the page. Nothing that a request names is opened: ids
are random and looked up in a dictionary, and file names are for display.
"""
