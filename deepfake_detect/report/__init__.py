"""Reports, figures and tables of finished results. Only this room imports matplotlib, jinja2 and rich tables.

    clip, clip_timeline   the report on a clip as an HTML page, and its chart
    key_frames            the faces shown in that report, with heat maps
    timeline              fake probability of each person over a clip, as a figure
    annotate              the clip with boxes, as a video
    people                the people of a clip, one series each
    evaluation            files of an evaluation: numbers, figures, HTML, Markdown
    figures, roc, faces   parts of that report
    compare               comparison of detectors
    history               training curves, confusion matrix, learning rate search
    explain, duplicates   sheets of heat maps, and of duplicate crops
    terminal, tables      tables in the terminal
    page, drawing         common parts of pages and figures
    words                 verdicts, percentages, people and metrics in words

Pages are Jinja2 templates in ``report/templates``. matplotlib and jinja2 are imported on first use.
"""
