"""Files of measurements as blocks of times and numbers, whoever wrote them.

A file is bytes (`content`), which are text in some encoding (`encodings`) and some dialect of CSV
(`dialect`, `text`, `quotes`), or columns with types (`typed`), or a sheet (`excel`). Its cells
become times (`times`, `timeformat`, `zones`) and numbers (`numbers`), each of them exactly or with
a reason why not. `columns` says which columns are which. Nothing here knows a server or a command
line.
"""
