"""The last third of a study: from records to summaries, tables, charts and a page.

`summary` merges records, `statistics` are those of the paper, and `study_view` is a summary as a report sees it.
`paper_tables` has one function for every table (a new one is a function there and its name in `TABLES`); `tables`
writes them as Markdown, HTML and csv. `charts` and `factors` draw the figures, and `report` puts everything on one
page, whose layout is in `page.html`.
"""
