"""A page and an HTTP interface that judge uploaded clips on this computer; nothing leaves it.

    limits     what may be uploaded, and how much of it
    refusals   why a request was turned down, as its sender reads it
    fair_queue whose turn it is
    uploads    a request's body onto the disk, in pieces
    jobs       uploads on their way from the queue to a result, and to their deletion
    results    what is made of a scored clip: words, faces, report
    worker     the process that scores, apart from the one that serves
    guard      who may ask: the host's own names and the page's own origin
    server     the addresses, put together
    serve      a port, a worker and the server, until the user ends it

Only `worker` and `results` load the detector, and they run in a process of their own: a file that
brings a decoder down takes the worker with it and not the page. Nothing a request names is opened:
ids are random and looked up in a dictionary, and names of files are for display.
"""
