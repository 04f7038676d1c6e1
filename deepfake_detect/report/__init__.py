"""Reports, figures and tables of finished results. Only this room imports matplotlib, jinja2 and rich tables.

    clip                  the report on a clip as an HTML page, and a result in notebooks
    key_frames            the faces shown in that report, with heat maps
    timeline              the people of a clip over time: numbers, chart, figure
    annotate              the clip with boxes, as a video
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
