"""Raw files of each data set -> arrays; a module a family of data sets."""
