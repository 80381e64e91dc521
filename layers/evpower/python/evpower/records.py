"""Values of which several are made for each message of a charger.

A frozen dataclass sets each of its members through ``object.__setattr__``, which for the six objects of a meter reading
added up to a sixth of all its work in the socket tier. A struct is made by native code; equality, hash and members are
those of a frozen dataclass. To change one: ``msgspec.structs.replace``.
"""

import msgspec

__all__ = ["Record"]


class Record(msgspec.Struct, frozen=True, gc=False):
    """An immutable value. It may hold no object that refers back to it: the collector does not look inside.

    Its classes say ``frozen=True`` again: type checkers do not see it inherited.
    """
