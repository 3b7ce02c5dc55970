"""The last part of a study: from records to summaries, tables, charts and a page.

`summary` merges records, `statistics` has the paper's statistics, and `study_view` is a summary as a report sees it.
`paper_tables` has one function for each table (a new one is a function there and its name in `TABLES`); `table_format`
writes them as Markdown, HTML and csv. `charts` and `factors` draw the figures, and `report` puts everything on one
page, whose layout is in `page.html`.
"""
