"""The generated stubs: structs with codecs, procedure tables, driver interfaces, constants, errors.

Everything here comes from ``remotevirt/protocol`` by ``make generate`` and is never edited.
"""
