"""The first part of a study: a data set's list is read, and its clips and classes come out.

`lists` reads a list, and `formats` knows each kind of list (Kinetics, Something-Something, folders, ...). Of lists with
a path and a class on each line, `headed` reads those below a header, `separated` those with commas, and `spaced` those
with spaces; all make `rows`.
`columns` finds out what the columns of a file mean, `class_names` reads the names of a model's classes and `name_marks`
what stands before them, `numbering` finds lists that count classes from 1, `class_lists` reads lists of some classes,
`packaged` has those that come with the package (`lists/`), and `texts` reads text files. Every decision becomes a note.
A file that could be read in two ways is refused. Nothing here knows a model or a record.
"""
