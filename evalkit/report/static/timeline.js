"use strict";
// The timeline: what each model said, second by second, beside the video, the memory and the judge.
window.evalkitTimelines = (host) => {
  const { data, make, draw, read, clock, marked, later, badge, plural, runs, several, dotted, videoNode, lookedFor } = window.evalkitReport;
  const SPAN = 60;
  const lower = [];
  const texts = (t) => t.runs.flatMap((r) => r.said.text).concat(t.reference, t.failures.map((f) => f.reason), t.sample, t.cluster);
  const textOf = async (i) => lower[i] || (lower[i] = texts(await read("timeline-" + i)).join("\n").toLowerCase());
  let timer = 0, view = null;

  // From columns to one object a second: x what was said in n tokens, d whether the second was dropped; c tokens in the
  // cache, k kept and v evicted by
  // kind, t seconds it took, m MiB, z what the compressors did.
  function bySecond(t) {
    const places = new Map(t.start.map((start, k) => [start, k]));
    const rows = (column, row) => {
      const all = new Array(t.start.length).fill(null);
      column.start.forEach((start, j) => { all[places.get(start)] = row(j); });
      return all;
    };
    const counts = (kinds, j) => Object.fromEntries(Object.entries(kinds).filter(([, list]) => list[j]).map(([kind, list]) => [kind, list[j]]));
    const anyAt = (kinds, j) => Object.values(kinds).some((list) => list[j]);
    t.runs = t.runs.map(({ said, memory }) => ({
      said: rows(said, (j) => ({ x: said.text[j], n: said.tokens[j], d: said.dropped[j] })),
      memory: rows(memory, (j) => ({ c: memory.cache[j], k: counts(memory.kept, j), v: anyAt(memory.evicted, j) ? counts(memory.evicted, j) : null,
        t: memory.seconds[j], m: memory.mib[j], z: memory.compressed[j] < 0 ? [] : memory.notes[memory.compressed[j]] })),
    }));
    return t;
  }

  const search = make("input", { type: "search", placeholder: "Search what was said", "aria-label": "Search timelines" });
  const differing = make("input", { type: "checkbox", id: "differing-timelines" });
  differing.checked = several && data.timelines.some((row) => row.differs);
  const failed = make("input", { type: "checkbox", id: "failed-timelines" });
  const count = make("span", { class: "count", role: "status" }), body = make("tbody"), where = make("span", { class: "muted" });
  const back = make("button", { type: "button", text: "Previous", onclick: () => turn(-1) });
  const next = make("button", { type: "button", text: "Next", onclick: () => turn(1) });
  const pager = make("div", { class: "pager" }, back, where, next);
  const stage = make("div", { id: "stage" });
  const judgedRuns = runs.map((_, k) => k).filter((k) => data.timelines.some((row) => Object.keys(row.results[k]).length));
  const named = (word, k) => (several ? runs[k] + " " + word.toLowerCase() : word);
  const heads = [["Video"], ["From", "num"], ["To", "num"], ["Seconds", "num"], ...runs.map((_, k) => [named("Spoke", k), "num"]), ...judgedRuns.map((k) => [named("Judged", k)])];
  let rows = [], page = 0, chosen = -1;
  host.append(
    make("div", { class: "bar", role: "search" }, search,
      several ? make("label", { for: "differing-timelines" }, differing, "Only where the models differ") : null,
      make("label", { for: "failed-timelines" }, failed, "Only with failures"), count),
    make("div", { class: "panel list picker" },
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Videos" },
        make("table", {}, make("thead", {}, make("tr", {}, ...heads.map(([text, kind]) => make("th", { scope: "col", class: kind, text })))), body)), pager),
    stage);
  host.hidden = false;

  const PAGE = 50;
  // What was asked last wins: unpacking takes a moment, and a newer search may be through before an older one.
  let asked = 0;
  async function filter() {
    const needle = search.value.trim().toLowerCase(), ask = ++asked;
    const found = [];
    for (let i = 0; i < data.timelines.length; i++) {
      if (differing.checked && !data.timelines[i].differs) continue;
      if (failed.checked && !data.timelines[i].failed) continue;
      if (needle && !(await textOf(i)).includes(needle)) continue;
      if (ask !== asked) return;
      found.push(i);
    }
    rows = found;
    page = 0;
    list();
    const keep = rows.includes(chosen) ? chosen : data.follows ? rows[rows.length - 1] : rows[0];
    if (keep === undefined) { chosen = -1; stop(); stage.replaceChildren(make("p", { class: "empty panel", text: "No video matches." })); stage.setAttribute("aria-busy", "false"); }
    else if (keep !== chosen) await open(keep);
    else if (view) view.mark(needle);
  }
  function turn(step) { page += step; list(); }
  function list() {
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    body.replaceChildren(...rows.slice(page * PAGE, (page + 1) * PAGE).map(row));
    count.textContent = (rows.length === data.timelines.length ? "" : rows.length + " of ") + plural(data.timelines.length, "video");
    where.textContent = "Page " + (page + 1) + " of " + pages;
    pager.hidden = pages === 1;
    back.disabled = page === 0;
    next.disabled = page >= pages - 1;
  }
  function results(list) {
    const tally = (kind) => list[kind] || 0;
    return Object.keys(list).length ? tally("test") + " won, " + tally("tie") + " tied, " + tally("baseline") + " lost" + (tally("invalid") ? ", " + tally("invalid") + " invalid" : "") : "–";
  }
  function row(i) {
    const t = data.timelines[i];
    return make("tr", { "data-row": i, "aria-selected": String(i === chosen), onclick: () => open(i) },
      make("td", {}, make("button", { type: "button", class: "open", text: t.sample }), t.failed ? badge("failed", t.failed + " failed") : null),
      make("td", { class: "num", text: clock(t.start) }), make("td", { class: "num", text: clock(t.end) }), make("td", { class: "num", text: t.seconds }),
      ...t.spoken.map((n) => make("td", { class: "num", text: n + " s" })), ...judgedRuns.map((k) => make("td", { text: results(t.results[k]) })));
  }
  function stop() { clearInterval(timer); timer = 0; }
  async function open(i, second) {
    stop();
    chosen = i;
    view = null;
    stage.setAttribute("aria-busy", "true");
    for (const tr of body.children) tr.setAttribute("aria-selected", String(Number(tr.dataset.row) === i));
    const timeline = bySecond(await read("timeline-" + i));
    if (chosen !== i) return;
    view = timelineView(timeline);
    stage.replaceChildren(view.node);
    view.mark(search.value.trim().toLowerCase());
    view.go(view.place(second !== undefined ? second : data.follows ? Infinity : data.timelines[i].start));
    stage.setAttribute("aria-busy", "false");
  }

  function timelineView(t) {
    const n = t.start.length, film = videoNode(t.video);
    const pictures = data.thumbnails[t.video || t.cluster || t.sample];
    const kinds = [...new Set(t.runs.flatMap((r) => r.memory.flatMap((m) => (m ? Object.keys(m.k) : []))))];
    // One scale for all runs, so that a bounded memory looks as small as it is beside a growing one.
    const most = Math.max(1, ...t.runs.map((r) => r.memory.reduce((top, m) => Math.max(top, m ? Object.values(m.k).reduce((a, b) => a + b, 0) : 0), 0)));
    const kindClass = (kind) => "k" + (kinds.indexOf(kind) % 7);
    let at = -1, needle = "", seeking = false;
    const picture = pictures ? make("img", { alt: "" }) : null;
    const screen = make("div", { class: "screen" }, film || picture || make("p", { text: "The video is not on this machine. " + lookedFor(t.cluster || t.sample) + "Everything else of this second is here." }));
    const now = make("div", { class: "now", "aria-live": "off" });
    const range = make("input", { type: "range", min: 0, max: n - 1, step: 1, value: 0, "aria-label": "Second of the stream" });
    const jump = make("input", { type: "number", step: "any", min: t.start[0], max: t.end[n - 1], "aria-label": "Jump to media second" });
    const play = make("button", { type: "button", class: "primary", text: "Play", onclick: toggle });
    const lanes = overview();
    const words = make("tbody"), pageText = make("span", { class: "muted" });
    const earlier = make("button", { type: "button", text: "Earlier", onclick: () => go(Math.max(0, Math.floor(at / SPAN) * SPAN - SPAN)) });
    const after = make("button", { type: "button", text: "Later", onclick: () => go(Math.min(n - 1, Math.floor(at / SPAN) * SPAN + SPAN)) });
    let spanStart = -1;

    const node = make("div", {},
      ...t.failures.map((f) => make("p", { class: "failure" }, badge("failed"), " ", make("b", { text: runs[f.run] }), ": " + f.reason)),
      make("div", { class: "panel" },
        make("div", { class: "stage" }, screen, now),
        make("div", { class: "track" }, lanes.node,
          make("div", { class: "transport" }, play, range, make("label", {}, make("span", { class: "muted", text: "second " }), jump)))),
      make("div", { class: "panels" },
        make("div", { class: "panel script" }, make("h3", { text: "Second by second" }),
          make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Second by second" }, make("table", {},
            make("thead", {}, make("tr", {}, ...["Time", ...runs, "Reference"].map((h) => make("th", { scope: "col", text: h })),
              ...runs.map((_, k) => make("th", { scope: "col", class: "num", text: named("Memory", k) })))), words)),
          make("div", { class: "pager" }, earlier, pageText, after)),
        t.windows.length ? judged() : null));

    range.addEventListener("input", () => go(Number(range.value)));
    jump.addEventListener("change", () => go(place(Number(jump.value))));
    if (film) {
      // While the film seeks to where the page sent it, its old time must not pull the page back.
      film.addEventListener("seeked", () => { seeking = false; });
      film.addEventListener("timeupdate", () => { if (!seeking && !film.paused) go(place(film.currentTime), true); });
      film.addEventListener("play", () => { play.textContent = "Pause"; });
      film.addEventListener("pause", () => { play.textContent = "Play"; });
      film.addEventListener("loadedmetadata", () => seek(t.start[Math.max(0, at)]));
      film.addEventListener("seeking", () => { if (film.paused && !seeking) go(place(film.currentTime), true); });
      film.addEventListener("error", () => screen.replaceChildren(make("p", { text: "The video cannot be played. Looked for " + film.getAttribute("src") })));
    }

    function place(second) {
      let low = 0, high = n - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (t.start[middle] <= second + 1e-6) low = middle; else high = middle - 1;
      }
      return low;
    }
    function seek(second) {
      if (film && film.readyState >= 1 && Math.abs(film.currentTime - second) > 0.01) { seeking = true; film.currentTime = second; }
    }
    function toggle() {
      if (film && !film.error) { if (film.paused) film.play(); else film.pause(); return; }
      if (timer) { stop(); play.textContent = "Play"; return; }
      play.textContent = "Pause";
      timer = setInterval(() => { if (at + 1 < n) go(at + 1); else { stop(); play.textContent = "Play"; } }, 1000 * (t.end[0] - t.start[0]));
    }
    function go(to, fromFilm) {
      if (to === at && spanStart >= 0) return;
      at = to;
      if (!fromFilm) seek(t.start[at]);
      range.value = at;
      range.setAttribute("aria-valuetext", clock(t.start[at]));
      if (document.activeElement !== jump) jump.value = t.start[at];
      lanes.move(at);
      tell();
      script();
    }
    function tell() {
      if (picture) {
        const url = pictures[String(Math.floor(t.start[at]))];
        if (url) picture.src = url; else picture.removeAttribute("src");
        picture.alt = url ? "Frame at " + clock(t.start[at]) : "No picture of this second";
      }
      now.replaceChildren(
        make("h3", { text: clock(t.start[at]) + " – " + clock(t.end[at]) }),
        ...t.runs.map((run, k) => voice(run, k)),
        t.reference.some(Boolean) ? make("div", { class: "voice reference" }, make("h4", { text: "Reference" }), make("p", {}, marked(t.reference[at] || "–", needle))) : "");
    }
    function hush(said) { return said.d ? "dropped: never shown to the model" : "silent"; }
    function voice(run, k) {
      const said = run.said[at], memory = run.memory[at];
      const text = !said ? "no record of this second" : said.x.trim() ? said.x : hush(said);
      const words = said && said.x.trim();
      const box = make("div", { class: "voice s" + (k % 7) }, make("h4", {}, dotted(k)), make("p", { class: words ? "" : "silent" }, words ? marked(text, needle) : text));
      if (memory) box.append(meter(memory, said));
      return box;
    }
    function counted(counts) { return Object.entries(counts).filter(([, v]) => v).map(([kind, v]) => kind.replaceAll("_", " ") + " " + v.toLocaleString("en")).join(", "); }
    function meter(memory, said) {
      const bar = draw("svg", { viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": "In memory: " + counted(memory.k) });
      let x = 0;
      for (const kind of kinds) {
        const width = (1000 * (memory.k[kind] || 0)) / most;
        bar.append(draw("rect", { x, y: 0, width, height: 10, class: kindClass(kind) }));
        x += width;
      }
      const evicted = memory.v ? counted(memory.v) : "";
      return make("div", { class: "meter" }, bar,
        make("div", { class: "kinds" }, make("b", { text: memory.c.toLocaleString("en") + " tokens in memory" }),
          ...kinds.filter((kind) => memory.k[kind]).map((kind) => make("span", { class: kindClass(kind) }, make("span", { class: "dot" }), kind.replaceAll("_", " ") + " " + memory.k[kind].toLocaleString("en")))),
        make("div", { class: "kinds" }, evicted ? make("span", { class: "gone", text: "Evicted: " + evicted }) : make("span", { text: "Nothing evicted" }),
          memory.t ? make("span", { text: "took " + memory.t.toFixed(3) + " s" }) : "",
          said && said.n ? make("span", { text: plural(said.n, "token") + " spoken" }) : "",
          memory.m ? make("span", { text: memory.m.toLocaleString("en") + " MiB" }) : "",
          ...memory.z.map((line) => make("span", { text: line }))));
    }
    function script() {
      const start = Math.floor(at / SPAN) * SPAN;
      if (start !== spanStart) {
        spanStart = start;
        const stopAt = Math.min(n, start + SPAN);
        words.replaceChildren(...Array.from({ length: stopAt - start }, (_, k) => line(start + k)));
        pageText.textContent = clock(t.start[start]) + " – " + clock(t.end[stopAt - 1]) + " of " + clock(t.end[n - 1]);
        earlier.disabled = start === 0;
        after.disabled = stopAt >= n;
      }
      for (const tr of words.children) {
        if (Number(tr.dataset.second) === at) tr.setAttribute("aria-current", "true"); else tr.removeAttribute("aria-current");
      }
    }
    function line(k) {
      return make("tr", { "data-second": k, onclick: () => go(k) },
        make("td", { class: "t" }, make("button", { type: "button", class: "open", text: clock(t.start[k]), "aria-label": "Go to " + clock(t.start[k]) })),
        ...t.runs.map((run) => { const s = run.said[k]; return make("td", {}, !s ? "–" : s.x.trim() ? marked(s.x, needle) : make("span", { class: "hush", text: hush(s) })); }),
        make("td", { class: "muted" }, marked(t.reference[k] || "", needle)),
        ...t.runs.map((run) => { const m = run.memory[k]; return make("td", { class: "num" }, m ? m.c.toLocaleString("en") : "–", m && m.v ? make("span", { class: "gone", title: counted(m.v), text: " −" + Object.values(m.v).reduce((a, b) => a + b, 0) }) : ""); }));
    }
    // Lanes over the whole stream: windows, speech, memory, evictions and time, drawn in at most 600 columns.
    function overview() {
      // Drawn at the width it has, so that its words are as large on a phone as anywhere.
      const WIDE = Math.max(320, Math.min(1000, (host.clientWidth || 1000) - 36)), LEFT = WIDE < 600 ? 86 : 108;
      const begin = t.start[0], span = Math.max(1e-6, t.end[n - 1] - begin), x = (s) => LEFT + ((WIDE - LEFT) * (s - begin)) / span;
      const shown = [], step = Math.max(1, Math.ceil(n / 600));
      let y = 4;
      const lane = (name, height, kind) => {
        shown.push(draw("text", { x: 0, y: y + height / 2 + 4, class: "name " + (kind || ""), text: name }), draw("rect", { x: LEFT, y, width: WIDE - LEFT, height, class: "lane", rx: 2 }));
        const top = y;
        y += height + 5;
        return top;
      };
      const columns = Array.from({ length: Math.ceil(n / step) }, (_, k) => [k * step, Math.min(n, (k + 1) * step)]);
      const most15 = WIDE < 600 ? 13 : 17;
      const short = (name) => (name.length > most15 ? name.slice(0, most15 - 1) + "…" : name);
      t.runs.forEach((run, k) => {
        if (k) y += 10;
        let top = lane(short(runs[k]), 12, "run");
        for (const [a, b] of columns) {
          const spoke = run.said.slice(a, b).filter((s) => s && s.x.trim()).length / (b - a);
          if (spoke) shown.push(draw("rect", { x: x(t.start[a]), y: top + 12 * (1 - spoke), width: Math.max(0.6, x(t.end[b - 1]) - x(t.start[a]) - 0.4), height: 12 * spoke, class: "spoke s" + (k % 7) }));
        }
        const windows = t.windows.filter((v) => v.run === k);
        if (windows.length) {
          top = lane("Judged", 12);
          for (const v of windows) {
            const from = x(Math.max(v.start, begin)), to = x(Math.min(v.end, t.end[n - 1]));
            shown.push(draw("rect", { x: from, y: top, width: Math.max(1, to - from), height: 12, class: "cell " + v.result.replaceAll(" ", "-") },
              draw("title", { text: clock(v.start) + " – " + clock(v.end) + ": " + outcome(v) })));
          }
        }
        if (!run.memory.some(Boolean)) return;
        const high = 44;
        top = lane("Memory", high);
        const base = columns.map(() => 0);
        for (const kind of kinds) {
          const upper = columns.map(([a], c) => base[c] + ((run.memory[a] && run.memory[a].k[kind]) || 0) / most);
          const edge = (values, k2) => x((t.start[columns[k2][0]] + t.end[columns[k2][1] - 1]) / 2).toFixed(1) + "," + (top + high * (1 - values[k2])).toFixed(1);
          const there = columns.map((_, c) => edge(upper, c)), home = columns.map((_, c) => edge(base, c)).reverse();
          shown.push(draw("polygon", { points: [...there, ...home].join(" "), class: kindClass(kind) }, draw("title", { text: kind.replaceAll("_", " ") })));
          upper.forEach((v, c) => { base[c] = v; });
        }
        if (run.memory.some((m) => m && m.v)) {
          top = lane("Evicted", 8);
          for (const [a, b] of columns) {
            if (run.memory.slice(a, b).some((m) => m && m.v)) shown.push(draw("rect", { x: x(t.start[a]), y: top, width: Math.max(0.6, x(t.end[b - 1]) - x(t.start[a]) - 0.4), height: 8, class: "evicted" }));
          }
        }
      });
      const cursor = draw("line", { y1: 0, y2: y, x1: LEFT, x2: LEFT, class: "cursor" });
      const svg = draw("svg", { viewBox: "0 0 " + WIDE + " " + y, class: "lanes", role: "img", "aria-label": "The whole stream: judged windows, speech, memory and evictions" }, ...shown, cursor);
      svg.addEventListener("click", (event) => {
        const box = svg.getBoundingClientRect(), share = ((event.clientX - box.left) / box.width * WIDE - LEFT) / (WIDE - LEFT);
        if (share >= 0) go(place(begin + share * span));
      });
      const verdicts = t.windows.length ? ["won", "tied", "lost", "invalid"].map((word, r) => make("span", { class: "r" + r }, make("span", { class: "dot" }), word)) : [];
      const keys = make("div", { class: "kinds meter" }, ...verdicts, ...kinds.map((kind) => make("span", { class: kindClass(kind) }, make("span", { class: "dot" }), kind.replaceAll("_", " "))));
      return { node: make("div", {}, svg, keys), move: (k) => { const to = x(t.start[k]); cursor.setAttribute("x1", to); cursor.setAttribute("x2", to); } };
    }
    function outcome(v) {
      return { test: runs[v.run] + " won", baseline: v.baseline + " won", tie: "tie", invalid: "invalid" }[v.result] || v.result;
    }
    function judged() {
      const side = (v, winner) => ({ test: runs[v.run], baseline: v.baseline }[winner] || winner);
      return make("div", { class: "panel" }, make("h3", { text: "What the judge said" }), ...t.windows.map((v) =>
        make("details", { class: "window" },
          make("summary", {}, make("b", { class: "num", text: clock(v.start) + " – " + clock(v.end) }), badge(v.result, outcome(v)),
            make("span", { class: "muted", text: runs[v.run] + " against " + v.baseline + ", " + v.judge })),
          make("div", { class: "votes" }, ...v.votes.map((vote) => make("div", {},
            make("h4", { text: "First " + (vote.order === "ab" ? runs[v.run] : v.baseline) + ", then " + (vote.order === "ab" ? v.baseline : runs[v.run]) }),
            make("p", {}, "Chose ", make("b", { text: vote.vote === "invalid" || vote.vote === "tie" ? vote.vote : "the " + vote.vote }), vote.vote === "first" || vote.vote === "second" ? ": " + side(v, vote.winner) : "", make("span", { class: "muted", text: " by rule " + vote.rule })),
            vote.reply ? make("div", { class: "raw mono", text: vote.reply }) : make("p", { class: "muted", text: vote.error ? "no reply: " + vote.error : "no reply was asked for" })))),
          make("button", { type: "button", text: "Go to this window", onclick: () => { go(place(v.start)); screen.scrollIntoView({ block: "nearest" }); } }))));
    }
    function mark(word) { needle = word; spanStart = -1; if (at >= 0) { tell(); script(); } }
    return { node, go, place, mark, second: () => t.start[Math.max(0, at)] };
  }

  let wide = host.clientWidth;
  window.addEventListener("resize", later(() => {
    if (chosen < 0 || Math.abs(host.clientWidth - wide) < 80) return;
    wide = host.clientWidth;
    open(chosen, view ? view.second() : undefined);
  }, 200));
  search.addEventListener("input", later(filter, 150));
  for (const control of [differing, failed]) control.addEventListener("change", filter);
  filter();
};
