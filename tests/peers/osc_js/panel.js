// An Open Stage Control session played without its window, on osc.js, the library that Open Stage Control speaks OSC with.
//
//     node panel.js SESSION SEND_PORT
//
// stdin: {"id": "pad/3", "value": 0.5} a line moves that widget; {"bundle": [...], "in": 0.2} moves several, so many
// seconds from now. stdout: {"port": 40001} once it listens, then {"id": ..., "value": ...} for whatever is told about a
// widget. As there, numbers go out as floats and all else as strings.

const fs = require("node:fs");
const readline = require("node:readline");
const osc = require("osc");

const [session, send] = process.argv.slice(2);
const widgets = new Map();
(function collect(widget) {
  if (widget.address) widgets.set(widget.id, widget);
  for (const inner of [...(widget.widgets ?? []), ...(widget.tabs ?? [])]) collect(inner);
})(JSON.parse(fs.readFileSync(session)).content);
const byAddress = new Map([...widgets.values()].map((widget) => [widget.address, widget]));

const say = (said) => process.stdout.write(JSON.stringify(said) + "\n");
const port = new osc.UDPPort({ localAddress: "127.0.0.1", localPort: 0, metadata: true });
port.on("ready", () => say({ port: port.socket.address().port }));
port.on("error", (fault) => say({ fault: String(fault) }));
port.on("message", ({ address, args }) => {
  const widget = byAddress.get(address);
  if (widget) say({ id: widget.id, value: args[0]?.value ?? null, type: args[0]?.type ?? null });
});
port.open();

function message({ id, value }) {
  const args = { type: typeof value === "number" ? "f" : "s", value };
  return { address: widgets.get(id).address, args: [args] };
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const asked = JSON.parse(line);
  const packet = asked.bundle
    ? { timeTag: osc.timeTag(asked.in), packets: asked.bundle.map(message) }
    : message(asked);
  port.send(packet, "127.0.0.1", Number(send));
}).on("close", () => process.exit(0));
