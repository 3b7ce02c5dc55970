"""The first third of a study: from somebody's list of a data set to its clips and classes.

`lists` reads a list and `formats` knows each kind of it (Kinetics, Something-Something, folders, ...). `columns` finds
out what the columns of a file mean, `class_names` reads a model's names, `numbering` finds classes that count from 1,
`classes` reads lists of classes, and `texts` reads files of text. Whatever is decided becomes a note; what could be
read in two ways is refused. Nothing here knows a model or a record.
"""
