"""The last part of a study: from records to summaries, tables, charts and a page.

`summary` merges records, `statistics` has the paper's statistics, and `study_view` is a summary as a report sees it;
`distinct_studies` tells several of them apart. `paper_tables` has one function for each table (a new one is a function
there and its name in `TABLES`); `table_format` writes them as Markdown, HTML and csv. `paper_figures` has one function
for each figure that compares networks (a new one is a function there and its name in `FIGURES`) and `paper_maps` those
for heat maps side by side; which networks these are is read from names of models by `named_networks`.
`data_set_figures` has figures that show several studies together, `report_charts` is what they all return, and
`not_made` says what cannot be made. `charts` and `factors` draw figures from plain numbers, and `inline_svg` gives them
the colours of the page. `study_clips` has the clips of a study, `clip_pages` finds their pages, and `gallery` shows
them. `report` puts everything on one page, whose layout is in `page.html`; `parquet` writes the records as one table
for other programs.
"""
