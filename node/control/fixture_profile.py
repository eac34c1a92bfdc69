"""The node's fixture for lighting desks: as a table, as CSV, and as GDTF (DIN SPEC 15800), from `show/lights.py`."""

from __future__ import annotations

import csv
import io
import uuid
import zipfile
from typing import get_args
from xml.etree import ElementTree
from xml.etree.ElementTree import SubElement

from ..show.lights import FixtureChannel, Mode, addressed

COLUMNS = ("channel", "function", "parameter", "values", "what it does")
MODES: tuple[Mode, ...] = get_args(Mode)
MANUFACTURER, NAME = "worldjockey", "worldjockey world"
ID = uuid.uuid5(uuid.NAMESPACE_URL, "worldjockey/fixture")
# GDTF's names of attributes: each with what a desk calls it, its group of features and the feature in it.
ATTRIBUTES = {
    "Dimmer": ("Dim", "Dimmer.Dimmer"), "Pan": ("Pan", "Position.PanTilt"), "Tilt": ("Tilt", "Position.PanTilt"),
    "Zoom": ("Zoom", "Focus.Focus"),
}  # fmt: skip


def _values(channel: FixtureChannel) -> str:
    if channel.slots:
        first, last, name = channel.slots[0]
        end = channel.slots[-1]
        return f"0 nothing; {first}{f'-{last}' if last != first else ''} {name} … {end[1]} {end[2]}"
    return f"{channel.low:g} to {channel.high:g}"


def table(mode: Mode) -> list[tuple[str, ...]]:
    """The rows of the mode's table, with COLUMNS."""
    return [
        (f"{at}" if channel.bits == 8 else f"{at}, {at + 1} fine", channel.name, channel.target, _values(channel),
         channel.doc)
        for at, channel in addressed(mode, 1)
    ]  # fmt: skip


def markdown() -> str:
    parts = []
    for mode in MODES:
        rows = [f"| {' | '.join(row)} |" for row in table(mode)]
        head = [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
        parts.append("\n".join([f"Mode `{mode}`:", "", *head, *rows]))
    return "\n\n".join(parts)


def as_csv() -> str:
    """Every value that means something, one a line, for desks that import tables."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("mode", "channel", "fine", "function", "parameter", "from", "to", "meaning"))
    for mode in MODES:
        for at, channel in addressed(mode, 1):
            fine = at + 1 if channel.bits == 16 else ""
            slots = channel.slots or ((0, 2**channel.bits - 1, f"{channel.low:g} to {channel.high:g}"),)
            for first, last, name in slots:
                rows.writerow((mode, at, fine, channel.name, channel.target, first, last, name))
    return out.getvalue()


def gdtf() -> bytes:
    """A GDTF file: a zip with description.xml"""
    root = ElementTree.Element("GDTF", DataVersion="1.2")
    kind = SubElement(root, "FixtureType", Name=NAME, ShortName="wj", LongName=NAME, Manufacturer=MANUFACTURER,
                          Description="A generative world, played like a fixture", FixtureTypeID=str(ID).upper(),
                          Thumbnail="", RefFT="", CanHaveChildren="No")  # fmt: skip
    _attributes(kind)
    SubElement(kind, "Wheels")
    SubElement(SubElement(kind, "PhysicalDescriptions"), "Emitters")
    SubElement(SubElement(kind, "Models"), "Model", Name="Body", Length="0.4", Width="0.4", Height="0.1",
                   PrimitiveType="Cube")  # fmt: skip
    SubElement(SubElement(kind, "Geometries"), "Geometry", Name="Body", Model="Body",
                   Position="{1,0,0,0}{0,1,0,0}{0,0,1,0}{0,0,0,1}")  # fmt: skip
    modes = SubElement(kind, "DMXModes")
    for mode in MODES:
        _mode(SubElement(modes, "DMXMode", Name=mode, Geometry="Body", Description=f"{mode} control"), mode)
    SubElement(SubElement(kind, "Revisions"), "Revision", Text="made by worldjockey",
                   Date="2026-12-01T00:00:00", UserID="0")  # fmt: skip
    SubElement(kind, "FTPresets")
    ElementTree.indent(root)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("description.xml", ElementTree.tostring(root, "UTF-8", xml_declaration=True))
    return out.getvalue()


def _attribute(channel: FixtureChannel) -> str:
    """GDTF's attribute of a channel; what has no name of GDTF's own is an attribute of ours."""
    return channel.attribute if channel.attribute in ATTRIBUTES else f"WJ_{channel.name.replace(' ', '_')}"


def _attributes(kind: ElementTree.Element) -> None:
    definitions = SubElement(kind, "AttributeDefinitions")
    SubElement(definitions, "ActivationGroups")
    features = SubElement(definitions, "FeatureGroups")
    attributes = SubElement(definitions, "Attributes")
    channels = {_attribute(c): c for mode in MODES for _, c in addressed(mode, 1)}
    named = {name: ATTRIBUTES.get(name, (channel.name, "Control.Control")) for name, channel in channels.items()}
    for feature in dict.fromkeys(feature for _, feature in named.values()):
        group, _, one = feature.partition(".")
        found = next((g for g in features if g.get("Name") == group), None)
        if found is None:
            found = SubElement(features, "FeatureGroup", Name=group, Pretty=group)
        SubElement(found, "Feature", Name=one)
    for name, (pretty, feature) in named.items():
        SubElement(attributes, "Attribute", Name=name, Pretty=pretty, Feature=feature, PhysicalUnit="None")


def _mode(parent: ElementTree.Element, mode: Mode) -> None:
    channels = SubElement(parent, "DMXChannels")
    for at, channel in addressed(mode, 1):
        name, size = _attribute(channel), channel.bits // 8
        offset = ",".join(str(at + i) for i in range(size))
        home = round(channel.home * (2**channel.bits - 1))
        first = f"Body_{name}.{name}.{channel.name}"
        one = SubElement(channels, "DMXChannel", DMXBreak="1", Offset=offset, InitialFunction=first,
                             Highlight="None", Geometry="Body")  # fmt: skip
        logical = SubElement(one, "LogicalChannel", Attribute=name, Snap="Yes" if channel.slots else "No",
                                 Master="Grand" if name == "Dimmer" else "None", MibFade="0",
                                 DMXChangeTimeLimit="0")  # fmt: skip
        function = SubElement(
            logical, "ChannelFunction", Name=channel.name, Attribute=name, OriginalAttribute="", DMXFrom=f"0/{size}",
            Default=f"{home}/{size}", PhysicalFrom="0" if channel.slots else f"{channel.low:g}",
            PhysicalTo="1" if channel.slots else f"{channel.high:g}", RealFade="0",
        )  # fmt: skip
        sets = channel.slots and ((0, channel.slots[0][0] - 1, "nothing"), *channel.slots)
        for start, _, label in sets:
            SubElement(function, "ChannelSet", Name=label, DMXFrom=f"{start}/{size}")
    SubElement(parent, "Relations")
    SubElement(parent, "FTMacros")
