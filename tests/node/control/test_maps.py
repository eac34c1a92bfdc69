import pytest
from worldjockey.node.control.maps import map_rows, pickup_rows
from worldjockey.node.show.schema import Show

FADERS = (
    {"cc": 7, "channel": 1, "device": "APC mini"},
    {"cc14": 3},
    {"nrpn": 300, "channel": 2},
    {"pitchbend": True, "channel": 16},
    {"aftertouch": True},
    {"polytouch": 0},
    {"cc": 0},
)


@pytest.mark.parametrize("control", FADERS)
def test_a_fader_that_waits_has_the_name_of_its_map(control):
    show = Show.model_validate({"midi": {"map": [{**control, "to": "energy"}]}})
    listed = next(row for row in map_rows(show) if not row.locked)
    rule = show.midi.map[0].rule()
    fader = {name: rule[name] for name in ("kind", "number", "channel", "device", "target")}
    assert pickup_rows([{**fader, "at": 0.25}]) == [{"text": listed.text, "to": listed.to, "at": 0.25}]
    assert pickup_rows([{**fader, "target": "act", "at": 2.0}])[0]["at"] == "robot"  # choices have names
