"""Callbacks of an OSC In DAT on port 9011: the Table DAT `wj_values` gets a row for every parameter's present value."""

TABLE = "wj_values"


def onReceiveOSC(dat, rowIndex, message, byteData, timeStamp, address, args, peer):  # noqa: N802, N803
    if address.startswith("/wj/") and args:
        table = op(TABLE)  # noqa: F821  # TouchDesigner provides op
        name = address[len("/wj/") :]
        if table.row(name) is None:
            table.appendRow([name, args[0]])
        else:
            table[name, 1] = args[0]
