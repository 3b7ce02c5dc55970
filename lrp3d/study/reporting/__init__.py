"""From records to summaries, tables, charts and the page of a study; one file per kind of table."""
