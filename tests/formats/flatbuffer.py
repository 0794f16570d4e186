"""Reading a FlatBuffer without its schema: field k of a table stands at place 4 + 2 * k of its vtable."""

import flatbuffers
from flatbuffers.number_types import Float32Flags, UOffsetTFlags
from flatbuffers.table import Table


def root(data):
    return Table(bytearray(data), flatbuffers.encode.Get(UOffsetTFlags.packer_type, data, 0))


def sub(table, field):
    return Table(table.Bytes, table.Indirect(table.Pos + table.Offset(4 + 2 * field)))


def item(table, field):
    """The only table in a vector of tables."""
    [only] = items(table, field)
    return only


def items(table, field):
    """The tables in a vector of tables."""
    start, count = table.Vector(table.Offset(4 + 2 * field)), table.VectorLen(table.Offset(4 + 2 * field))
    return [Table(table.Bytes, table.Indirect(start + 4 * number)) for number in range(count)]


def text(table, field):
    return table.String(table.Pos + table.Offset(4 + 2 * field)).decode()


def number(table, field, kind):
    return table.Get(kind, table.Pos + table.Offset(4 + 2 * field))


def numbers(table, field):
    return table.GetVectorAsNumpy(Float32Flags, table.Offset(4 + 2 * field)).tolist()
