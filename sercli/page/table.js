"use strict";
// Text that is safe to be put into a page: html`<b>${anything}</b>` escapes all that is not made by html itself.
class Safe { constructor(text) { this.text = text; } toString() { return this.text; } }
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escape = (value) => value instanceof Safe ? value.text
  : Array.isArray(value) ? value.map(escape).join("")
  : value === null || value === undefined || value === false ? "" : String(value).replace(/[&<>"']/g, (c) => ESCAPES[c]);
const html = (strings, ...values) => new Safe(strings.reduce((all, part, n) => all + escape(values[n - 1]) + part));
const put = (element, safe) => { element.innerHTML = safe.text; };
const $ = (selector, root = document) => root.querySelector(selector);

const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}%`;
const clock = (seconds, digits = 0) => {
  const all = Number(seconds.toFixed(digits)), hours = Math.floor(all / 3600), minutes = Math.floor(all / 60) % 60;
  const rest = (all % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
};

const FEW = 20; // rows below which a table is shown whole
// A table of any number of rows, of which only those in sight are in the page.
class RowTable {
  constructor(box, { draw, columns, total, open, empty, rowHeight = 46 }) {
    Object.assign(this, { box, draw, columns, open, empty, rowHeight });
    this.body = $("tbody", box);
    this.table = $("table", box);
    this.all = Array.from({ length: total }, (_, n) => n);
    this.shown = this.all;
    this.order = null;
    this.whole = false; // whether all rows are drawn, for printing
    box.addEventListener("scroll", () => this.render(), { passive: true });
    addEventListener("resize", () => this.render());
    addEventListener("beforeprint", () => { this.whole = true; this.render(); });
    addEventListener("afterprint", () => { this.whole = false; this.render(); });
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-row]");
      if (row) open(Number(row.dataset.row), event);
    });
    this.body.addEventListener("keydown", (event) => this.move(event));
    for (const head of box.querySelectorAll("th[data-column]"))
      $("button", head).addEventListener("click", () => this.sort(head.dataset.column));
  }

  filter(keep) { this.keep = keep; this.arrange(); this.box.scrollTop = 0; }
  sort(column) {
    const first = this.columns[column].first || "ascending", other = first === "ascending" ? "descending" : "ascending";
    const now = this.order && this.order.column === column ? this.order.direction : null;
    this.setOrder(now === null ? { column, direction: first } : now === first ? { column, direction: other } : null);
  }
  setOrder(order) {
    this.order = order;
    for (const head of this.box.querySelectorAll("th[data-column]"))
      head.setAttribute("aria-sort", this.order && head.dataset.column === this.order.column ? this.order.direction : "none");
    this.arrange();
    this.box.scrollTop = 0;
  }
  arrange() {
    this.shown = this.keep ? this.all.filter(this.keep) : this.all;
    if (this.order) {
      const { key } = this.columns[this.order.column], sign = this.order.direction === "ascending" ? 1 : -1;
      const keys = new Map(this.shown.map((row) => [row, key(row)]));
      const compare = (a, b) => typeof a === "string" ? COLLATOR.compare(a, b) : a - b;
      // What has no value comes last in both directions; equals stay in the order of the report.
      this.shown = this.shown.slice().sort((a, b) => {
        const one = keys.get(a), two = keys.get(b);
        if (one === null || two === null) return (one === null) - (two === null) || a - b;
        return sign * compare(one, two) || a - b;
      });
    }
    this.render();
  }
  render() {
    const { rowHeight, shown } = this, margin = 8, few = shown.length < FEW;
    this.box.classList.toggle("long", !few);
    const top = this.whole || few ? 0 : Math.max(0, Math.floor(this.box.scrollTop / rowHeight) - margin);
    const count = this.whole || few ? shown.length : Math.ceil((this.box.clientHeight || 600) / rowHeight) + 2 * margin;
    const part = shown.slice(top, top + count), below = Math.max(0, shown.length - top - part.length);
    const focused = this.body.contains(document.activeElement) ? document.activeElement.closest("tr").dataset.row : null;
    const spacer = (rows) => rows ? html`<tr class="spacer" aria-hidden="true"><td style="height:${rows * rowHeight}px"></td></tr>` : "";
    put(this.body, html`${spacer(top)}${part.map((row, n) => html`<tr data-row="${row}" aria-rowindex="${top + n + 2}">${this.draw(row)}</tr>`)}${spacer(below)}${shown.length ? "" : html`<tr><td class="empty" colspan="${$("thead tr", this.box).cells.length}">${this.empty}</td></tr>`}`);
    this.table.setAttribute("aria-rowcount", shown.length + 1);
    if (focused !== null) this.focus(focused);
  }
  focus(row) { const button = $(`tr[data-row="${row}"] button`, this.body); if (button) button.focus({ preventScroll: true }); }
  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    const row = event.target.closest("tr[data-row]");
    if (!step || !row) return;
    event.preventDefault();
    const at = this.shown.indexOf(Number(row.dataset.row));
    const to = Math.min(Math.max(at + step, 0), this.shown.length - 1), y = to * this.rowHeight;
    const room = this.box.clientHeight - 2 * this.rowHeight;
    if (y < this.box.scrollTop) this.box.scrollTop = y;
    if (y > this.box.scrollTop + room) this.box.scrollTop = y - room;
    this.render();
    this.focus(this.shown[to]);
  }
}
const COLLATOR = new Intl.Collator(undefined, { numeric: true });
