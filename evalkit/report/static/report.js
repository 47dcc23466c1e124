"use strict";
// All text of models and data sets reaches the page through textContent; nothing here builds HTML from strings.
(async () => {
  const PAGE = 50;
  const $ = (id) => document.getElementById(id);
  // Long data stand packed: base64 of a zlib stream.
  async function read(id) {
    const node = $(id);
    if (!("packed" in node.dataset)) return JSON.parse(node.textContent);
    const bytes = Uint8Array.from(atob(node.textContent), (char) => char.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
  }
  if (document.querySelector("[data-packed]") && !window.DecompressionStream) {
    $("samples").append("This browser is too old to unpack the samples of this page: the tables above are whole, the samples are in the run folder.");
    return;
  }
  const data = await read("index");
  const SVG = "http://www.w3.org/2000/svg";

  function make(tag, props, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(props || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name === "class") node.className = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "text") node.textContent = value;
      else if (name === "value") node.value = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }
  function draw(tag, props, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(props)) {
      if (name === "text") node.textContent = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }
  // h:mm:ss of media time; tenths only where the stream has them.
  function clock(seconds) {
    const whole = Math.floor(seconds + 1e-6), rest = seconds - whole;
    const two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(whole % 60) + (rest > 0.05 ? "." + Math.round(rest * 10) : "");
  }
  // Text with the searched words marked; the text itself stays text.
  function marked(text, needle) {
    const out = document.createDocumentFragment();
    const low = needle ? text.toLowerCase() : "";
    let from = 0;
    // A letter whose lower case is longer would shift the places, so such a text is shown unmarked.
    for (let at = needle && low.length === text.length ? low.indexOf(needle) : -1; at >= 0; at = low.indexOf(needle, from)) {
      out.append(text.slice(from, at), make("mark", { text: text.slice(at, at + needle.length) }));
      from = at + needle.length;
    }
    out.append(text.slice(from));
    return out;
  }
  function later(act, wait) {
    let timer = 0;
    return () => { clearTimeout(timer); timer = setTimeout(act, wait); };
  }
  const badge = (kind, text) => make("span", { class: "badge " + kind, text: text || kind });
  const plural = (n, word) => n.toLocaleString("en") + " " + word + (n === 1 ? "" : "s");
  const option = (value, text) => make("option", { value, text: text || value });

  const runs = data.runs, several = runs.length > 1;
  const dotted = (run) => make("span", { class: "s" + (run % 7) }, make("span", { class: "dot", "aria-hidden": "true" }), runs[run]);

  function videoNode(name) {
    const url = data.video_urls[name];
    return url ? make("video", { src: url, controls: true, preload: "metadata", playsinline: true, "aria-label": "Video " + name }) : null;
  }

  // Where a video that is not here was looked for, as the run says.
  function lookedFor(...names) {
    const stem = (name) => name.split("/").pop().replace(/\.[^.]*$/, "");
    const found = Object.entries(data.sought || {}).find(([name]) => names.some((want) => want && (want === name || stem(want) === stem(name))));
    return found ? "Looked for " + found[1] + ". " : "";
  }

  // ---- questions ---------------------------------------------------------------------------------------------
  function questionBrowser(host, q) {
    const c = q.columns, w = q.words, letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let rows = [], page = 0, chosen = -1, needle = "";
    const haystack = new Array(q.n);
    const hay = (i) => haystack[i] || (haystack[i] = [c.query[i], w[c.sample[i]], w[c.cluster[i]], w[c.gold[i]] || "", w[c.prompt[i]] || "",
      q.choices[c.choices[i]].join("\n"), ...q.replies.map((r) => (r.text[i] || "") + "\n" + (w[r.reason[i]] || ""))].join("\n").toLowerCase());

    const search = make("input", { type: "search", placeholder: "Search replies, options, ids", "aria-label": "Search questions" });
    const tasks = [...new Set(c.task.map((t) => w[t]))].filter(Boolean).sort();
    const task = make("select", { "aria-label": "Task" }, option("", "All tasks"), ...tasks.map((t) => option(t)));
    const run = make("select", { "aria-label": "Outcome of which model" }, ...runs.map((name, i) => option(String(i), name)));
    const state = make("select", { "aria-label": "Outcome" }, option("", "Any outcome"), option("not right"), ...data.outcomes.map((o) => option(o)));
    const differing = make("input", { type: "checkbox", id: "differing" });
    differing.checked = several && c.differs.some(Boolean);
    const count = make("span", { class: "count", role: "status" });
    const body = make("tbody"), where = make("span", { class: "muted" });
    const back = make("button", { type: "button", text: "Previous", onclick: () => turn(-1) });
    const next = make("button", { type: "button", text: "Next", onclick: () => turn(1) });
    const detail = make("div", { class: "panel detail", role: "region", "aria-label": "Question", tabindex: "-1" });
    const heads = ["Question", "Asked", "Moment", "Gold", ...runs];
    host.append(
      make("div", { class: "bar", role: "search" }, search, tasks.length > 1 ? task : null, several ? run : null, state,
        several ? make("label", { for: "differing" }, differing, "Only where the models differ") : null, count),
      make("div", { class: "split" },
        make("div", { class: "panel list" },
          make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Questions" },
            make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", { scope: "col", class: { Question: "id", Moment: "num moment", Asked: "asked" }[h], text: h })))), body)),
          make("div", { class: "pager" }, back, where, make("span", { class: "muted keys", text: "Keys: j next, k previous" }), next)),
        detail));
    host.hidden = false;

    function filter() {
      needle = search.value.trim().toLowerCase();
      const wantTask = task.value, wantState = state.value ? data.outcomes.indexOf(state.value) : -1;
      const notRight = state.value === "not right" ? ["wrong", "unparsed", "failed"].map((o) => data.outcomes.indexOf(o)) : null;
      const outcomes = q.replies[Number(run.value) || 0].outcome;
      rows = [];
      for (let i = 0; i < q.n; i++) {
        if (differing.checked && !c.differs[i]) continue;
        if (wantTask && w[c.task[i]] !== wantTask) continue;
        if (notRight ? !notRight.includes(outcomes[i]) : wantState >= 0 && outcomes[i] !== wantState) continue;
        if (needle && !hay(i).includes(needle)) continue;
        rows.push(i);
      }
      page = 0;
      list();
      show(rows.length ? rows[0] : -1);
    }
    function turn(step) { page += step; list(); show(rows[page * PAGE]); }
    function list() {
      const part = rows.slice(page * PAGE, (page + 1) * PAGE), pages = Math.max(1, Math.ceil(rows.length / PAGE));
      body.replaceChildren(...part.map(row));
      count.textContent = rows.length === q.n ? plural(q.n, "question") : rows.length.toLocaleString("en") + " of " + plural(q.n, "question");
      where.textContent = rows.length ? "Page " + (page + 1) + " of " + pages.toLocaleString("en") : "Nothing matches";
      back.disabled = page === 0;
      next.disabled = page >= pages - 1;
    }
    function row(i) {
      const open = make("button", { type: "button", class: "open", text: c.query[i], title: c.query[i] }), asked = brief(w[c.prompt[i]]);
      return make("tr", { "data-row": i, "aria-selected": String(i === chosen), onclick: () => pick(i) },
        make("td", { class: "id" }, open), make("td", { class: "asked", title: asked, text: asked || w[c.task[i]] || "–" }), make("td", { class: "num moment", text: clock(c.at[i]) }),
        make("td", { text: w[c.gold[i]] ?? "–" }),
        ...q.replies.map((r) => {
          const kind = data.outcomes[r.outcome[i]], parsed = w[r.parsed[i]];
          return make("td", {}, badge(kind, kind === "right" || kind === "wrong" ? parsed + " " + kind : kind));
        }));
    }
    // The line of a prompt that asks: the one so marked, else the last that ends with a question mark, else the first.
    function brief(prompt) {
      const lines = (prompt || "").split("\n").map((line) => line.trim()).filter(Boolean);
      const marked = lines.find((line) => /\bquestion\s*:\s*\S/i.test(line));
      return marked ? marked.replace(/^.*?\bquestion\s*:\s*/i, "") : lines.filter((line) => line.endsWith("?")).pop() || lines[0] || "";
    }
    // What a person chose is in the address, so that it can be handed on.
    function pick(i) {
      show(i);
      if (i >= 0) history.replaceState(null, "", "#" + anchor(i));
      if (matchMedia("(max-width: 900px)").matches) detail.scrollIntoView({ block: "start" });
    }
    function step(by) {
      const at = rows.indexOf(chosen) + by;
      if (at < 0 || at >= rows.length) return;
      if (Math.floor(at / PAGE) !== page) { page = Math.floor(at / PAGE); list(); }
      pick(rows[at]);
      const tr = body.querySelector('tr[aria-selected="true"]');
      if (tr) tr.scrollIntoView({ block: "nearest" });
    }
    function show(i) {
      chosen = i;
      for (const tr of body.children) tr.setAttribute("aria-selected", String(Number(tr.dataset.row) === i));
      if (i < 0 || i === undefined) {
        detail.replaceChildren(make("p", { class: "empty", text: differing.checked ? "No question differs under this filter." : "No question matches this filter." }));
        return;
      }
      const gold = w[c.gold[i]], choices = q.choices[c.choices[i]];
      const given = q.replies.map((r) => w[r.parsed[i]]);
      const film = videoNode(q.videos[c.video[i]]);
      const facts = [w[c.category[i]], w[c.task[i]], w[c.kind[i]], "asked at " + clock(c.at[i]), "may see from " + clock(c.start[i]), "video " + (w[c.cluster[i]] || w[c.sample[i]])];
      detail.replaceChildren(
        make("h3", {}, make("a", { href: "#" + anchor(i), text: c.query[i] })),
        make("p", { class: "facts" }, ...facts.filter(Boolean).map((fact) => make("span", { text: fact }))),
        ...(film ? [make("div", { class: "screen" }, film),
          make("div", { class: "bar" }, make("button", { type: "button", text: "Play to the moment", onclick: () => playTo(film, c.at[i]) }))] : []),
        ...lastFrames(i),
        ...(w[c.prompt[i]] ? [make("pre", { class: "prompt", "aria-label": "Prompt", text: w[c.prompt[i]].trim() })] : []),
        choices.length ? make("ul", { class: "options", "aria-label": "Options" }, ...choices.map((text, k) => {
          const letter = letters[k], by = runs.filter((_, r) => given[r] === letter), right = gold === letter;
          return make("li", { class: right ? "gold" : "" }, make("b", { text: letter }), make("span", {}, marked(unlettered(text, letter), needle)),
            make("span", { class: "tag", text: [right ? "gold" : "", ...by].filter(Boolean).join(" · ") }));
        })) : make("p", {}, "Gold: ", make("b", { text: gold ?? "not known" })),
        ...q.replies.map((r, k) => reply(r, k, i)));
      if (film) film.addEventListener("loadedmetadata", () => { film.currentTime = Math.min(c.at[i], film.duration); }, { once: true });
      detail.scrollTop = 0;
    }
    // The last frames before the question: of the video where it is here, else of the pictures in the page.
    function lastFrames(i) {
      const name = q.videos[c.video[i]], url = data.video_urls[name], key = w[c.cluster[i]] || w[c.sample[i]], pictures = data.thumbnails[key];
      const cells = c.last[i].map((second) => {
        const label = "Frame at " + clock(second);
        if (url) {
          const still = make("video", { src: url, preload: "metadata", muted: true, playsinline: true, tabindex: "-1", "aria-label": label });
          still.addEventListener("loadedmetadata", () => { still.currentTime = Math.min(second + 0.001, still.duration); }, { once: true });
          return make("figure", {}, still, make("figcaption", { text: clock(second) }));
        }
        const picture = pictures && pictures[String(Math.floor(second))];
        return picture ? make("figure", {}, make("img", { src: picture, alt: label }), make("figcaption", { text: clock(second) })) : null;
      }).filter(Boolean);
      if (cells.length) return [make("div", { class: "frames", role: "group", "aria-label": "Last frames before the question" }, ...cells)];
      const sought = url ? "" : lookedFor(w[c.cluster[i]], w[c.sample[i]]);
      return url || !sought ? [] : [make("p", { class: "note", text: "The video is not on this machine. " + sought })];
    }
    function anchor(i) { return "question=" + encodeURIComponent(w[c.sample[i]] + "/" + c.query[i]); }
    // Options whose text begins with their own letter ("A. 42:02") have it once.
    function unlettered(text, letter) {
      const rest = new RegExp("^\\(?" + letter + "[.):]\\s+").exec(text);
      return rest ? text.slice(rest[0].length) : text;
    }
    function linked() {
      const wanted = location.hash.slice(1);
      const at = wanted.startsWith("question=") ? rows.findIndex((i) => anchor(i) === wanted) : -1;
      if (at < 0 || rows[at] === chosen) return;
      page = Math.floor(at / PAGE);
      list();
      show(rows[at]);
      host.scrollIntoView();
    }
    function playTo(film, at) {
      film.currentTime = Math.max(0, at - 5);
      const stop = () => { if (film.currentTime >= at) { film.pause(); film.removeEventListener("timeupdate", stop); } };
      film.addEventListener("timeupdate", stop);
      film.play();
    }
    function reply(r, k, i) {
      const kind = data.outcomes[r.outcome[i]], reason = w[r.reason[i]], rule = w[r.rule[i]];
      const box = make("div", { class: "reply s" + (k % 7) }, make("h4", {}, dotted(k), badge(kind)));
      if (r.text[i]) box.append(make("blockquote", {}, marked(r.text[i], needle)));
      const facts = [kind === "absent" ? "this run has no such question" : "", w[r.parsed[i]] !== null ? "read as " + w[r.parsed[i]] : "",
        rule ? "by rule: " + rule : "", reason ? "reason: " + reason : "",
        r.frames[i] ? "shown " + plural(r.frames[i], "frame") : "", r.held[i] ? r.held[i].toLocaleString("en") + " tokens in memory" : "",
        r.seconds[i] ? r.seconds[i].toFixed(2) + " s" : "", r.tokens[i] ? plural(r.tokens[i], "token") : ""];
      box.append(make("p", { class: "facts" }, ...facts.filter(Boolean).map((fact) => make("span", { text: fact }))));
      return box;
    }
    search.addEventListener("input", later(filter, 120));
    for (const control of [task, run, state, differing]) control.addEventListener("change", filter);
    body.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const tr = step && event.target.closest("tr"), to = tr && (step > 0 ? tr.nextElementSibling : tr.previousElementSibling);
      if (to) { event.preventDefault(); to.querySelector("button").focus(); pick(Number(to.dataset.row)); }
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, video")) return;
      const by = { j: 1, n: 1, k: -1, p: -1 }[event.key];
      if (by) { event.preventDefault(); step(by); }
    });
    filter();
    if (location.hash.startsWith("#question=")) {
      differing.checked = false;
      filter();
      linked();
    }
    window.addEventListener("hashchange", linked);
  }

  window.evalkitReport = { data, make, draw, read, clock, marked, later, badge, plural, option, runs, several, dotted, videoNode, lookedFor, $ };
  if (data.questions.n) questionBrowser($("questions"), data.questions);
  if (data.timelines.length && window.evalkitTimelines) window.evalkitTimelines($("timelines"));
})();
