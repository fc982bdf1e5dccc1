// The report of sercli predict: recordings as a table, and one of them opened.
const DATA = JSON.parse($("#data").textContent);
const LABELS = DATA.labels, N = LABELS.length;
const NEGATIVE = N; // of all labels that count as negative together
const UNCERTAIN = -1, NO_SPEECH = -2, FAILED = -3;
const NO_LABEL = { [UNCERTAIN]: "uncertain", [NO_SPEECH]: "no speech", [FAILED]: "failed" };
const nameOf = (result) => result >= 0 ? LABELS[result] : NO_LABEL[result];
const inkOf = (result) => result >= 0 ? `ink${result}` : "no-ink";
const swatch = (result) => html`<svg class="swatch" aria-hidden="true"><rect width="100%" height="100%" class="${inkOf(result)}"/></svg>`;
const nameInk = (result) => html`<span class="nowrap">${swatch(result)}${nameOf(result)}</span>`;
const reasonOf = ([kind, text]) => text || DATA.kinds[kind];
const showTypicality = ({ typicality }) => typicality === null ? "" : html`<span class="${typicality < DATA.minimum ? "doubt" : ""}">${percent(typicality, typicality < .1 ? 1 : 0)}</span>`;
const rate = (confidence) => html`<b>${percent(confidence)}</b> (${confidence < .5 ? "low" : confidence <= .75 ? "medium" : "high"})`;
const byName = (channel) => channel === "mix" ? "Mixed" : `Channel ${channel}`;

const CALLS = DATA.rows.some((row) => row[5].length > 1);

let rowsSoFar = 0;
const RECORDINGS = DATA.rows.map(([folder, name, duration, link, truth, channels, error], number) => {
  const sides = channels.map(([channel, result, confidence, negative, speech, warnings, typicality]) =>
    ({ channel, result, confidence, negative, speech, warnings, typicality: typicality < 0 ? null : typicality / 1000, row: rowsSoFar++ }));
  const [folderName, place] = DATA.folders[folder];
  const answered = sides.filter((side) => side.result >= UNCERTAIN);
  const kinds = new Set(sides.flatMap((side) => side.warnings.map(([kind]) => kind)));
  if (error) kinds.add(error[0]);
  return {
    number, folder, name, duration, truth, sides, error, kinds, answered,
    path: folderName ? (folderName.endsWith("/") ? folderName : `${folderName}/`) + name : name,
    source: link === -1 ? null : typeof link === "string" && link.startsWith("data:") ? link : `${place}/${link || encodeURIComponent(name)}`,
    folderName, doubted: sides.some((side) => side.warnings.length), failed: sides[0].result === FAILED,
    wrong: truth >= 0 && (sides.some((side) => side.result >= 0 && side.result !== truth) || sides.every((side) => side.result === NO_SPEECH)),
    confidence: answered.length ? Math.min(...answered.map((side) => side.confidence)) : null,
    negative: answered.length ? Math.max(...answered.map((side) => side.negative)) : null,
    typicality: answered.some((side) => side.typicality !== null) ? Math.min(...answered.map((side) => side.typicality)) : null,
  };
});

// Timelines, probabilities and envelopes of all rows; sercli/prediction/page.py packs them.
class Details {
  static async unpack({ segments, points, levels, packed }) {
    const text = atob(packed), bytes = new Uint8Array(text.length);
    for (let n = 0; n < bytes.length; n++) bytes[n] = text.charCodeAt(n);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Details(await new Response(stream).arrayBuffer(), segments, points, levels);
  }
  constructor(buffer, total, points, levels) {
    let at = 0;
    const packed = new Uint8Array(buffer), take = (Kind, count) => {
      const size = Kind.BYTES_PER_ELEMENT, bytes = new Uint8Array(count * size);
      for (let place = 0; place < size; place++) for (let n = 0; n < count; n++) bytes[n * size + place] = packed[at++];
      return new Kind(bytes.buffer);
    };
    this.counts = take(Uint32Array, rowsSoFar);
    this.gaps = take(Int32Array, total);
    this.durations = take(Uint16Array, total);
    this.results = take(Int16Array, total);
    this.percentages = take(Uint8Array, total * N);
    this.corrections = take(Int8Array, total);
    this.envelopes = take(Uint8Array, rowsSoFar * points);
    Object.assign(this, { points, levels });
    this.first = new Uint32Array(rowsSoFar + 1);
    for (let row = 0; row < rowsSoFar; row++) this.first[row + 1] = this.first[row] + this.counts[row];
  }
  segments(row) {
    const found = [];
    let end = 0;
    for (let n = this.first[row]; n < this.first[row + 1]; n++) {
      const start = end + this.gaps[n];
      end = start + this.durations[n];
      found.push({ n, start: start / 10, end: end / 10, result: this.results[n] });
    }
    return found;
  }
  share(n, label) {
    const percentage = (each) => this.percentages[n * N + each];
    return (label === NEGATIVE ? DATA.negative.reduce((sum, each) => sum + percentage(each), this.corrections[n]) : percentage(label)) / 100;
  }
  ofSegment(n) { return LABELS.map((_, label) => [this.share(n, label), label]); }
  strongest(n, labels) { return labels.reduce((best, label) => this.share(n, label) > this.share(n, best) ? label : best); }
  envelope(row) { return this.envelopes.subarray(row * this.points, (row + 1) * this.points); }
}
const MOST_SEGMENTS = 2000; // of one recording that are listed
let details = null;

// Neighbors of one emotion are drawn as one where a row is too narrow to tell them apart.
function merge(segments, gap) {
  const runs = [];
  for (const { start, end, result } of segments) {
    const last = runs[runs.length - 1];
    if (last && last.result === result && start - last.end <= gap) last.end = Math.max(last.end, end);
    else runs.push({ start, end, result });
  }
  return runs;
}
function ribbon(segments, duration, label) {
  const x = (seconds) => (100 * seconds / (duration || 1)).toFixed(2);
  return html`<svg class="ribbon" ${label ? html`role="img" aria-label="${label}"` : html`aria-hidden="true"`}>${segments.map(({ start, end, result }) =>
    html`<rect x="${x(start)}%" width="${x(Math.max(end - start, duration / 250))}%" height="100%" class="${inkOf(result)}"/>`)}</svg>`;
}

// The table.
function drawRow(number) {
  const it = RECORDINGS[number], sides = it.sides.slice(0, 2), more = it.sides.length - sides.length;
  const lines = (draw) => sides.map((side) => html`<div class="line${sides.length === 1 ? " only" : ""}">${draw(side)}</div>`);
  const numbers = (draw) => html`<td class="number">${sides.map((side) => html`<div class="line${sides.length === 1 ? " only" : ""}" style="justify-content:end">${draw(side)}</div>`)}</td>`;
  const reasons = it.error ? [it.error] : it.sides.flatMap((side) => side.warnings);
  const text = [...new Set(reasons.map(reasonOf))].join("; ");
  return html`
    <td><button type="button" class="link clip name" title="${it.path}">${it.name}</button><span class="soft folder clip" style="display:block">${it.folderName}</span></td>
    ${CALLS ? html`<td>${lines((side) => it.sides.length > 1 ? side.channel : "")}</td>` : ""}
    <td>${lines((side) => html`${swatch(side.result)}<span class="clip${side.result < UNCERTAIN ? " soft" : ""}">${nameOf(side.result)}</span>`)}</td>
    ${it.error ? html`<td></td><td class="clip small bad" colspan="${$("#rows thead tr").cells.length - 3 - CALLS}" title="${text}">${text}</td>` : html`${numbers((side) => side.result >= UNCERTAIN ? percent(side.confidence) : "")}
    ${DATA.minimum === null ? "" : numbers(showTypicality)}
    <td>${lines((side) => details && side.result >= UNCERTAIN ? ribbon(merge(details.segments(side.row), it.duration / 100), it.duration) : html`<svg class="ribbon" aria-hidden="true"></svg>`)}</td>
    ${DATA.negative.length ? numbers((side) => side.result >= UNCERTAIN ? percent(side.negative) : "") : ""}
    <td class="number">${clock(it.duration)}</td>
    <td class="small doubt" title="${[text, it.wrong && `known label: ${LABELS[it.truth]}`].filter(Boolean).join("; ")}"><div class="${it.wrong ? "clip" : "two"}">${text}${more > 0 ? html` <span class="soft">+${more} channels</span>` : ""}</div>${it.wrong ? html`<div class="bad clip">known label: ${LABELS[it.truth]}</div>` : ""}</td>`}`;
}
const table = new RowTable($("#rows"), {
  total: RECORDINGS.length,
  draw: drawRow,
  empty: "No recording fits these filters.",
  open: (number, event) => {
    const bar = event.target.closest(".ribbon");
    const box = bar && bar.getBoundingClientRect();
    openRecording(number, box ? RECORDINGS[number].duration * (event.clientX - box.left) / box.width : null);
  },
  columns: {
    name: { key: (n) => RECORDINGS[n].path },
    result: { key: (n) => RECORDINGS[n].sides.map((side) => nameOf(side.result)).join(" ") },
    confidence: { key: (n) => RECORDINGS[n].confidence },
    typicality: { key: (n) => RECORDINGS[n].typicality },

    negative: { key: (n) => RECORDINGS[n].negative, first: "descending" },
    duration: { key: (n) => RECORDINGS[n].failed ? null : RECORDINGS[n].duration, first: "descending" },
    kind: { key: (n) => { const it = RECORDINGS[n]; return it.kinds.size ? DATA.kinds[[...it.kinds][0]] : null; } },
  },
});

// The filters.
const filters = $("#filters");
const option = (value, text) => { const made = document.createElement("option"); made.value = value; made.textContent = text; return made; };
function fillFilters() {
  const found = new Set(RECORDINGS.flatMap((it) => it.sides.map((side) => side.result)));
  const results = [...LABELS.keys(), UNCERTAIN, NO_SPEECH, FAILED].filter((result) => found.has(result));
  filters.result.append(...results.map((result) => option(result, nameOf(result))));
  if (RECORDINGS.some((it) => it.truth >= 0)) filters.result.append(option("wrong", "wrong"), option("right", "right"));
  filters.folder.append(...DATA.folders.map(([name], n) => option(n, name || "(this folder)")));
  filters.kind.append(...DATA.kinds.map((kind, n) => option(n, kind)));
}
function* describeFilters() {
  for (const { name, value, options, selectedIndex, labels, ariaLabel } of filters.elements)
    if (name && value) yield `${(ariaLabel || labels[0].firstChild.textContent).toLowerCase()} ${options ? options[selectedIndex].textContent : value}`;
}
function moreNegative({ answered }) {
  const [one, two] = ["1", "2"].map((name) => answered.find((side) => side.channel === name));
  return one && two && two.negative !== one.negative && (two.negative > one.negative ? two : one).channel;
}
function applyFilters() {
  const text = filters.text.value.trim().toLocaleLowerCase(), { result, folder, kind } = filters;
  const least = filters.least.value === "" ? 0 : filters.least.value / 100, most = filters.most.value === "" ? 1 : filters.most.value / 100;
  const anyConfidence = filters.least.value === "" && filters.most.value === "";
  table.filter((n) => {
    const it = RECORDINGS[n];
    return (!text || it.path.toLocaleLowerCase().includes(text))
      && (!result.value || (result.value === "wrong" ? it.wrong : result.value === "right" ? it.truth >= 0 && it.sides.some((side) => side.result >= 0) && !it.wrong
        : it.sides.some((side) => side.result === Number(result.value))))
      && (!filters.negative || !filters.negative.value || moreNegative(it) === filters.negative.value)
      && (!folder.value || it.folder === Number(folder.value))
      && (!kind.value || (kind.value === "clean" ? !it.kinds.size : kind.value === "doubt" ? it.doubted : kind.value === "failed" ? it.failed : it.kinds.has(Number(kind.value))))
      && (anyConfidence || it.answered.some((side) => side.confidence >= least && side.confidence <= most));
  });
  const count = table.shown.length;
  const total = `${RECORDINGS.length} recording${RECORDINGS.length === 1 ? "" : "s"}`;
  $("#count").textContent = count === RECORDINGS.length ? total : `${count} of ${total}`;
  $("#filtered").textContent = count === RECORDINGS.length ? "" : `Filter: ${[...describeFilters(), $("#count").textContent].join(", ")}`;
}
filters.addEventListener("input", applyFilters);
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("reset", () => setTimeout(() => { table.setOrder(null); applyFilters(); }));
document.addEventListener("click", (event) => {
  const asked = event.target.closest("[data-result], [data-kind]");
  if (!asked) return;
  filters.reset();
  if (asked.dataset.result) filters.result.value = asked.dataset.result;
  else filters.kind.value = DATA.kinds.includes(asked.dataset.kind) ? DATA.kinds.indexOf(asked.dataset.kind) : asked.dataset.kind;
  setTimeout(() => { applyFilters(); $("#recordings").scrollIntoView(); $("#rows").focus({ preventScroll: true }); });
});

// The strongest segments of all recordings.
const measure = $("#measure");
function strongest(measured, most) {
  const found = [], perRecording = Math.max(3, Math.ceil(most / Math.max(1, RECORDINGS.length)));
  for (const it of RECORDINGS) {
    const own = it.sides.flatMap((side) => details.segments(side.row).map((segment) => ({ ...segment, it, side, share: details.share(segment.n, measured) })));
    own.sort((a, b) => b.share - a.share || b.end - b.start - (a.end - a.start));
    found.push(...own.slice(0, perRecording));
  }
  return found.sort((a, b) => b.share - a.share || b.end - b.start - (a.end - a.start)).slice(0, most);
}
function listStrongest() {
  const measured = Number(measure.value), labels = measured === NEGATIVE ? DATA.negative : [measured];
  const found = strongest(measured, 30);
  put($("#jumps"), found.length ? html`${found.map(({ n, it, side, start, end, share }) => html`<li><button type="button" data-open="${it.number}" data-at="${start}">
    <span><b>${percent(share)}</b> ${labels.length > 1 ? "negative, mostly " : ""}${nameInk(details.strongest(n, labels))}</span><span class="soft">${side.channel === "mix" ? "" : `${byName(side.channel).toLowerCase()}, `}${clock(start)} to ${clock(end)}</span><span class="soft small clip" title="${it.path}">${it.name}</span></button></li>`)}`
    : html`<li class="soft">No speech was scored.</li>`);
}
measure.append(...(DATA.negative.length ? [option(NEGATIVE, "negative emotions")] : []), ...LABELS.map((label, n) => option(n, label)));
measure.addEventListener("change", listStrongest);
$("#jumps").addEventListener("click", (event) => {
  const asked = event.target.closest("[data-open]");
  if (asked) openRecording(Number(asked.dataset.open), Number(asked.dataset.at));
});

// One recording, opened.
const dialog = $("#opened"), tip = $("#tip");
let opened = null;
function openRecording(number, at = null) {
  opened = RECORDINGS[number];
  const it = opened, sides = it.sides.map((side) => ({ ...side, segments: details.segments(side.row) }));
  const warnings = [...new Set(it.sides.flatMap((side) => side.warnings.map(reasonOf)))];
  put(dialog, html`<div class="opened">
    <header><div><h2 id="opened-name" tabindex="-1" autofocus>${it.name}</h2><p class="soft small">${it.folderName}${it.failed ? "" : html` · ${clock(it.duration, 1)}`}${it.typicality === null ? "" : html` · typicality ${it.answered.map((side, n) => html`${n ? ", " : ""}${it.sides.length > 1 ? `${byName(side.channel).toLowerCase()} ` : ""}${showTypicality(side)}`)}`}</p></div>
      <button type="button" class="button" data-step="-1">← Previous</button>
      <button type="button" class="button" data-step="1">Next →</button>
      <button type="button" class="button" data-close>Close</button></header>
    ${it.error ? html`<p class="note bad-text">Failed: ${reasonOf(it.error)}</p>` : ""}
    ${warnings.length ? html`<div class="note"><strong>Check this result:</strong> ${warnings.join("; ")}</div>` : ""}
    ${it.answered.length ? html`<p class="verdict">Confidence ${it.answered.map((side, n) => html`${n ? ", " : ""}${it.sides.length > 1 ? `${byName(side.channel).toLowerCase()} ` : ""}${rate(side.confidence)}`)} for the whole recording; listen before you rely on it. <span class="soft small">Low: under 50%, medium: 50 to 75%, high: over 75%.</span></p>` : ""}
    ${it.truth >= 0 ? html`<p class="small">Known label: ${swatch(it.truth)}${LABELS[it.truth]}${it.wrong ? html` <strong class="bad-text">(the answer is wrong)</strong>` : ""}</p>` : ""}
    ${it.source && !it.error ? html`<audio controls preload="metadata" src="${it.source}"></audio><p class="small soft" id="sound" role="status">Click the waveform to hear from there.</p>` : ""}
    ${it.error ? "" : html`<div class="times" id="times">${sides.map((side) => drawSide(it, side))}
      <div class="sheet" id="sheet"><div class="hair" hidden></div><div class="head-line" hidden></div></div></div>
      <div class="axis" aria-hidden="true">${ticks(it.duration)}</div>
      <div class="columns"><div>${drawPeaks(it, sides)}</div><div><h3>All segments</h3>${drawSegments(sides)}</div></div>`}
  </div>`);
  $(".opened").append(...["#trust", "#limits", ".foot"].map((part) => {
    const copy = $(part).cloneNode(true);
    copy.removeAttribute("id");
    copy.classList.add("printed");
    return copy;
  }));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  if (!it.error) wire(it, sides);
  if (at !== null && it.source && !it.error) play(at);
}
function drawSide(it, side) {
  const known = details.envelope(side.row), points = known.length, top = details.levels - 1;
  let next = 0;
  const bars = Array.from(known, (level, n) => {
    while (next < side.segments.length && side.segments[next].end <= n * it.duration / points) next++;
    const inside = next < side.segments.length && side.segments[next].start < (n + 1) * it.duration / points;
    const height = Math.max(2, 62 * (level / top) ** .7); // quiet speech stays visible beside a shout
    return html`<rect x="${(100 * n / points).toFixed(2)}%" y="${((64 - height) / 2).toFixed(1)}" width="${(72 / points).toFixed(3)}%" height="${height.toFixed(1)}" rx="1" class="${inside ? inkOf(side.segments[next].result) : "gap"}"/>`;
  });
  const answer = side.result >= UNCERTAIN ? `${nameOf(side.result)} ${percent(side.confidence)}` : nameOf(side.result);
  const spoken = `${it.sides.length > 1 ? byName(side.channel) : "Timeline"}: ${answer}, ${side.segments.length} segments`;
  return html`<div class="side"><div class="label">${it.sides.length > 1 ? html`<strong>${byName(side.channel)}</strong><br>` : ""}${swatch(side.result)}${nameOf(side.result)}${side.result >= UNCERTAIN ? html`<br>${percent(side.confidence)}` : ""}</div>
    <svg class="wave" aria-hidden="true">${bars}</svg>${ribbon(merge(side.segments, it.duration / 1000), it.duration, spoken)}</div>`;
}
function ticks(duration) {
  const step = [.1, .2, .5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].find((each) => duration / each <= 9) || duration / 8;
  const times = [];
  for (let time = 0; time <= duration * .97; time += step) times.push(time);
  return times.map((time) => html`<span style="left:${(100 * time / (duration || 1)).toFixed(2)}%">${step < 1 ? `${time.toFixed(1)} s` : clock(time)}</span>`);
}
const inOrder = (sides) => sides.flatMap((side) => side.segments.map((segment) => ({ ...segment, side }))).sort((a, b) => a.start - b.start);
// For each emotion: its share of this recording, and the segment and minute where it is most probable.
function drawPeaks(it, sides) {
  const all = inOrder(sides);
  const total = all.reduce((sum, { start, end }) => sum + end - start, 0), heading = html`<h3>Where each emotion is strongest</h3>`;
  if (!total) return html`${heading}<p class="soft">No speech.</p>`;
  const rows = LABELS.map((label, result) => {
    const own = all.filter((segment) => segment.result === result);
    const peak = all.reduce((best, segment) => !best || details.share(segment.n, result) > details.share(best.n, result) ? segment : best, null);
    return { label, result, peak, share: own.reduce((sum, { start, end }) => sum + end - start, 0) / total, minute: it.duration < 60 ? null : strongestMinute(it, sides, result) };
  }).sort((a, b) => b.share - a.share || details.share(b.peak.n, b.result) - details.share(a.peak.n, a.result));
  const place = ({ start, end, side, share }) => html`<button type="button" class="link nowrap" data-at="${start}">${clock(start)} to ${clock(end)}</button> <span class="soft nowrap">${percent(share)}${sides.length > 1 ? `, ${byName(side.channel).toLowerCase()}` : ""}</span>`;
  return html`${heading}<div class="scroll" tabindex="0" role="region" aria-label="Where each emotion is strongest"><table class="plain"><thead><tr><th scope="col">Emotion</th><th scope="col" class="number">Share of segments</th><th scope="col">Segment</th><th scope="col">Minute</th></tr></thead><tbody>${rows.map(({ label, result, share, peak, minute }, n) =>
    html`<tr><td>${swatch(result)}${label}</td><td class="number">${percent(share)}</td><td>${place({ ...peak, share: details.share(peak.n, result) })}</td>${it.duration >= 60 ? html`<td>${minute ? place(minute) : html`<span class="soft">too little speech</span>`}</td>` : n ? "" : html`<td class="soft top" rowspan="${rows.length}">shorter than a minute</td>`}</tr>`)}</tbody></table></div>`;
}
// The minute of one channel in which an emotion is most probable.
function strongestMinute(it, sides, result) {
  const minutes = sides.map((side) => strongestMinuteOf(side, it.duration, result)).filter((minute) => minute);
  return minutes.reduce((best, minute) => !best || minute.share > best.share ? minute : best, null);
}
function strongestMinuteOf(side, duration, result) {
  const { segments } = side;
  let best = null, from = 0;
  for (const segment of segments) {
    const start = Math.min(segment.start, duration - 60);
    let sum = 0, time = 0;
    while (segments[from].start < start - 60) from++; // no segment is longer than a minute
    for (let n = from; n < segments.length && segments[n].start < start + 60; n++) {
      const segment = segments[n];
      const shared = Math.min(segment.end, start + 60) - Math.max(segment.start, start);
      if (shared > 0) { sum += shared * details.share(segment.n, result); time += shared; }
    }
    if (time >= 10 && (!best || sum / time > best.share)) best = { side, start, end: start + 60, share: sum / time };
  }
  return best;
}
function drawSegments(sides) {
  const all = inOrder(sides);
  if (!all.length) return html`<p class="soft">No speech.</p>`;
  return html`<div class="scroll${all.length < FEW ? "" : " long"}" tabindex="0" role="region" aria-label="All segments"><table class="plain"><thead><tr><th scope="col">Time</th>${sides.length > 1 ? html`<th scope="col">Channel</th>` : ""}<th scope="col">Emotion</th><th scope="col">Probabilities (%)</th></tr></thead><tbody>${all.slice(0, MOST_SEGMENTS).map(({ n, start, end, result, side }) => {
    const top = details.ofSegment(n).sort((a, b) => b[0] - a[0]).slice(0, 3);
    return html`<tr><td><button type="button" class="link" data-at="${start}">${clock(start, 1)} to ${clock(end, 1)}</button></td>${sides.length > 1 ? html`<td>${side.channel}</td>` : ""}<td>${nameInk(result)}</td><td class="small soft">${top.map(([share, label]) => `${LABELS[label]} ${(100 * share).toFixed(0)}`).join(", ")}</td></tr>`;
  })}</tbody></table>${all.length > MOST_SEGMENTS ? html`<p class="soft small">and ${all.length - MOST_SEGMENTS} more, which the timeline shows</p>` : ""}</div>`;
}
function play(at) {
  const audio = $("audio", dialog);
  if (!audio) return;
  audio.currentTime = at;
  audio.play().catch(() => {}); // the error event explains
}
function wire(it, sides) {
  const sheet = $("#sheet"), hair = $(".hair", sheet), line = $(".head-line", sheet), audio = $("audio", dialog);
  const timeAt = (event) => { const box = sheet.getBoundingClientRect(); return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * it.duration; };
  const place = (element, time) => { element.hidden = false; element.style.left = `${100 * time / it.duration}%`; };
  sheet.addEventListener("pointermove", (event) => {
    const time = timeAt(event), boxes = [...dialog.querySelectorAll(".side")].map((each) => each.getBoundingClientRect());
    const nearest = boxes.findIndex((box) => event.clientY <= box.bottom), side = sides[nearest < 0 ? sides.length - 1 : nearest];
    place(hair, time);
    showTip(event, time, side, side.segments.find(({ start, end }) => start <= time && time <= end));
  });
  sheet.addEventListener("pointerleave", () => { hair.hidden = tip.hidden = true; });
  sheet.addEventListener("click", (event) => play(timeAt(event)));
  if (!audio) return;
  audio.addEventListener("timeupdate", () => place(line, Math.min(audio.currentTime, it.duration)));
  audio.addEventListener("error", () => {
    if (!audio.isConnected) return; // another recording is open by now
    $("#sound").textContent = `Cannot play ${it.path}: the page expects it where it was when the page was made, and in a format that browsers play.`;
    $("#sound").className = "small bad-text";
  });
}
function showTip(event, time, side, segment) {
  const bars = segment && details.ofSegment(segment.n).sort((a, b) => b[0] - a[0]);
  put(tip, html`<strong>${clock(time, 1)}</strong>${side.channel === "mix" ? "" : html` <span class="soft">${byName(side.channel).toLowerCase()}</span>`}${segment ? html`<table>${bars.map(([share, label]) =>
    html`<tr><td>${swatch(label)}${LABELS[label]}</td><td><svg class="bar" aria-hidden="true"><rect width="${percent(share, 1)}" height="100%" class="${inkOf(label)}"/></svg></td><td class="number">${percent(share)}</td></tr>`)}</table>` : html`<br><span class="soft">no speech</span>`}`);
  dialog.append(tip); // above the dialog, which is above all else
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX + 16, innerWidth - width - 8)}px`;
  tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18}px`;
}
dialog.addEventListener("click", (event) => {
  const asked = event.target.closest("button");
  if (event.target === dialog || (asked && "close" in asked.dataset)) dialog.close();
  else if (asked && asked.dataset.at) play(Number(asked.dataset.at));
  else if (asked && asked.dataset.step) {
    const at = table.shown.indexOf(opened.number) + Number(asked.dataset.step);
    if (at >= 0 && at < table.shown.length) openRecording(table.shown[at]);
    $(`[data-step="${asked.dataset.step}"]`, dialog).focus();
  }
});
dialog.addEventListener("close", () => { tip.hidden = true; const audio = $("audio", dialog); if (audio) audio.pause(); table.focus(opened.number); });

fillFilters();
applyFilters();
Details.unpack(DATA.details).then((unpacked) => { details = unpacked; table.render(); listStrongest(); document.body.dataset.ready = ""; });
