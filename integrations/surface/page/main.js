// The page: which panels there are on a desk, a tablet and a phone, and what is opened over them.

import { Acts } from './acts.js';
import { Camera, CameraBar } from './camera.js';
import { Crowd } from './crowd.js';
import { Cues, CuesBar, Transport } from './cues.js';
import { Favourites } from './favourites.js';
import { listen as listenToGamepads } from './gamepad.js';
import { Glance, Health } from './health.js';
import { cls, effect, html, render, signal } from './html.js';
import { listen as listenToKeys } from './keyboard.js';
import { Levels, Safety } from './levels.js';
import { Lights } from './lights.js';
import { Links } from './links.js';
import { KeyList, Maps, setMapMode } from './maps.js';
import { Modulators } from './modulators.js';
import { Pads, PadsBar } from './pads.js';
import { Parameters } from './parameters.js';
import { Players } from './players.js';
import { PromptB, PromptLine, PromptWords } from './prompt.js';
import { Bus, Screen, Take } from './screens.js';
import { naming, SaveAs, SaveButton } from './save.js';
import { connect } from './socket.js';
import { Snapshots } from './snapshots.js';
import { Story } from './story.js';
import { Sound, SoundBar } from './sound.js';
import { bus, drawer, editable, editing, line, mapMode, notice, operator, part, performing, role, say, show, value } from './state.js';
import { BeatLights, Tempo } from './tempo.js';
import { Timecode } from './timecode.js';
import { Try, TryBar } from './try.js';

/** @param {{name: string, title: string, bar?: any, children: any}} props */
const Panel = ({ name, title, bar, children }) => html`<section class=${cls('panel', name)} aria-label=${title}><header><h2>${title}</h2>${bar}</header><div class="body">${children}</div></section>`;

const phoneQuery = matchMedia('(max-width: 700px), (max-width: 960px) and (max-height: 480px)'); // upright, or on its side
const phone = signal(phoneQuery.matches);
phoneQuery.addEventListener('change', () => phone.value = phoneQuery.matches);

const stageTab = signal(/** @type {'pads' | 'try'} */ ('pads'));

function PadsOrTry() {
  const tab = operator.value ? stageTab.value : 'pads';
  return html`<section class="panel pads-panel" aria-label=${tab}><header>
      <div class="tabs" role="tablist" aria-label="pads or try">${operator.value ? /** @type {const} */ (['pads', 'try']).map(name => html`<button role="tab" aria-selected=${tab === name}
        onClick=${() => stageTab.value = name}>${name}</button>`) : html`<h2>pads</h2>`}</div>
      ${tab === 'pads' ? html`<${PadsBar} />` : html`<${TryBar} />`}</header>
    <div class="body">${tab === 'pads' ? html`<${Pads} />` : html`<${Try} />`}</div></section>`;
}

const PromptPanel = () => html`<section class="panel prompt-panel" aria-label="prompt"><${PromptLine} /><div class="prompt-below"><${PromptWords} /><${PromptB} /></div></section>`;

/** @type {Record<string, {title: string, part: any, operators?: boolean}>} */
const DRAWERS = {
  parameters: { title: 'All parameters', part: Parameters, operators: true }, favourites: { title: 'Favourites', part: Favourites, operators: true },
  snapshots: { title: 'Snapshots', part: Snapshots, operators: true }, modulators: { title: 'Modulators', part: Modulators, operators: true }, maps: { title: 'Maps', part: Maps, operators: true },
  story: { title: 'Story', part: Story }, timecode: { title: 'Timecode', part: Timecode }, crowd: { title: 'Crowd', part: Crowd }, lights: { title: 'Lights', part: Lights }, players: { title: 'Players', part: Players }, health: { title: 'Health', part: Health }, keys: { title: 'Keys', part: KeyList }, link: { title: 'Other devices', part: Links, operators: true },
};

function Drawer() {
  const open = DRAWERS[drawer.value];
  if (!open) return null;
  return html`<aside class=${cls('panel', 'drawer', drawer.value)} aria-label=${open.title}><header><h2>${open.title}</h2><span class="end"></span>
    <button class="button icon" aria-label=${`close ${open.title}`} onClick=${() => drawer.value = ''}>×</button></header><div class="body" tabindex="0"><${open.part} /></div></aside>`;
}

/** The maps, over a picture, so that every control can be clicked. */
const MapList = () => html`<aside class="panel drawer map-list" aria-label="Map mode"><div class="body" tabindex="0"><${Maps} /></div></aside>`;

function Menu() {
  return html`<div class="menu" role="group" aria-label="more">
    ${editable.value && html`<button class="button toggle" aria-pressed=${mapMode.value} title="click a control, then move what shall play it" onClick=${() => setMapMode(!mapMode.value)}>Map</button>`}
    ${operator.value && html`<button class="button toggle" aria-pressed=${performing.value} title="nothing can be edited; larger targets" onClick=${() => {
      performing.value = !performing.value;
      editing.value = false;
      if (mapMode.value) setMapMode(false);
    }}>Perform</button>`}
    <select class="open" aria-label="open" value=${drawer.value} onChange=${(/** @type {any} */ event) => {
      if (event.currentTarget.value === 'save as') naming.value = true;
      else drawer.value = event.currentTarget.value;
      event.currentTarget.value = drawer.value;
      event.currentTarget.blur();
    }}>
      <option value="">${drawer.value ? 'Close' : 'More…'}</option>
      ${Object.entries(DRAWERS).filter(([, one]) => !one.operators || operator.value).map(([name, { title }]) => html`<option value=${name} selected=${drawer.value === name}>${title}</option>`)}
      ${editable.value && html`<option value="save as">Save as…</option>`}</select></div>`;
}

function Title() {
  return html`<div class="title"><h1 title=${show.value.file || 'the embedded show'}>${show.value.name || 'worldjockey'}</h1>
    ${operator.value && html`<${SaveButton} />`}</div>`;
}

function Desk() {
  return html`<div class="desk">
    <header class="top"><${Title} /><${Bus} /><${Tempo} /><span class="end"></span><${Safety} /><${Glance} /><${Menu} /></header>
    <main><div class="left">
      <div class="screens"><${Screen} which="program" /><${Take} /><${Screen} which="preview" />${mapMode.value && html`<${MapList} />`}</div>
      ${operator.value ? html`<${PromptPanel} />` : html`<p class="panel prompt-shown">${value('prompt').value}</p>`}
      <${PadsOrTry} />
      ${operator.value && html`<div class="bottom"><${Panel} name="acts-panel" title="acts"><${Acts} /></${Panel}>
        <${Panel} name="levels-panel" title="levels"><${Levels} /></${Panel}>
        <${Panel} name="sound-panel" title="sound" bar=${html`<${SoundBar} />`}><${Sound} /></${Panel}>
        <${Panel} name="modulators-panel" title="modulators"><${Modulators} /></${Panel}></div>`}
    </div><div class="right">
      ${drawer.value ? html`<${Drawer} />${operator.value && html`<div class="below-drawer"><section class="panel" aria-label="cues"><div class="body"><${Transport} /></div></section>
          <${Panel} name="camera-panel" title="camera" bar=${html`<${CameraBar} />`}><${Camera} /></${Panel}></div>`}` : html`<${Panel} name="cues-panel" title="cues" bar=${html`<${CuesBar} />`}><${Cues} /></${Panel}>
        ${operator.value && html`<${Panel} name="camera-panel" title="camera" bar=${html`<${CameraBar} />`}><${Camera} /></${Panel}>`}`}
    </div></main></div>`;
}

const TABS = ['play', 'pads', 'prompt', 'cues', 'camera', 'more'];
const tab = signal('play');

function Phone() {
  const tabs = operator.value ? TABS : ['pads', 'cues', 'more'], now = tabs.includes(tab.value) ? tab.value : tabs[0];
  return html`<div class="phone">
    <header class="top"><${Glance} /><span class="end"></span><${BeatLights} /><${Bus} /></header>
    <div class="screens"><${Screen} key=${bus.value} which=${bus.value} />${mapMode.value && html`<${MapList} />`}</div>
    <main>${now === 'play' && html`<section class="panel prompt-panel play-prompt" aria-label="prompt"><${PromptLine} /></section><${Favourites} />`}
      ${now === 'pads' && html`<${PadsOrTry} />`}
      ${now === 'prompt' && html`<${PromptPanel} />`}
      ${now === 'cues' && html`<${Panel} name="cues-panel" title="cues" bar=${html`<${CuesBar} />`}><${Cues} /></${Panel}>`}
      ${now === 'camera' && html`<${Panel} name="camera-panel" title="camera" bar=${html`<${CameraBar} />`}><${Camera} /></${Panel}><${Panel} name="acts-panel" title="acts"><${Acts} /></${Panel}>`}
      ${now === 'more' && html`<div class="more"><${Title} /><${Menu} /><${Safety} /><${Take} /><${Tempo} />${operator.value && html`<${Levels} /><${Sound} />`}</div>`}</main>
    <nav role="tablist" aria-label="parts">${tabs.map(name => html`<button role="tab" aria-selected=${now === name} onClick=${() => { tab.value = name; drawer.value = ''; }}>${name}</button>`)}</nav>
    <${Drawer} /></div>`;
}

function Surface() {
  if (!role.value) return html`<div class="wait" role="status"><h1>worldjockey</h1><p>${line.value === 'lost' ? 'No connection to the show. Trying again.' : 'Connecting'}</p></div>`;
  return html`${phone.value ? html`<${Phone} />` : html`<${Desk} />`}
    ${naming.value && editable.value && html`<${SaveAs} />`}
    <div class="notice" role="status" aria-live="polite">${line.value !== 'open' ? html`<p class="bad">No connection to the show: trying again.</p>` : notice.value && html`<p class=${cls(notice.value.bad && 'bad')}>${notice.value.text}</p>`}</div>`;
}

effect(() => {
  const { classList } = document.body;
  classList.toggle('blind', bus.value === 'preview');
  classList.toggle('mapping', mapMode.value);
  classList.toggle('perform', performing.value && operator.value);
  classList.toggle('lost', role.value !== '' && line.value !== 'open');
  classList.toggle('viewer', role.value === 'viewer');
});
/** A line of the terminal as this page says it: who was not obeyed is clear to who plays here.
 * @param {string} text */
const inWords = text => text.replace(/^wj: /, '').replace(/^not obeyed: (surface [^ ]+: )?/, 'Not played: ');
const newest = part(status => status.messages.at(-1) ?? null);
let told = Date.now() / 1000;
effect(() => { // what happens from now on; all else stands under Health
  const message = newest.value;
  if (!message || message.at <= told) return;
  told = message.at;
  say(inWords(message.text));
});
effect(() => { document.title = show.value.name ? `${show.value.name} · worldjockey` : 'worldjockey'; });

/** A screen that goes dark cannot be played. */
const stayAwake = () => { if (!document.hidden) navigator.wakeLock?.request('screen').catch(() => {}); };
document.addEventListener('visibilitychange', stayAwake);
stayAwake();

listenToKeys();
listenToGamepads();
connect();
render(html`<${Surface} />`, /** @type {HTMLElement} */ (document.getElementById('surface')));
