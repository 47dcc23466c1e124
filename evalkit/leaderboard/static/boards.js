"use strict";
// Sorting by a heading, and showing the rows and settings that are wanted.
(() => {
  for (const table of document.querySelectorAll("table.board")) {
    const body = table.tBodies[0];
    for (const head of table.tHead.rows[0].cells) {
      if ("nosort" in head.dataset) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const number = head.classList.contains("num"), place = head.textContent === "#";
        const up = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && (place || !number));
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => row.cells[head.cellIndex].dataset.sort;
        const order = (a, b) => {
          const [x, y] = [key(a), key(b)];
          if (x === "" || y === "") return (x === "") - (y === "");
          return (up ? 1 : -1) * (number ? x - y : x.localeCompare(y, "en"));
        };
        body.append(...[...body.rows].sort(order));
      });
    }
  }
  const find = document.getElementById("find"), setting = document.getElementById("setting"), count = document.getElementById("count");
  const rows = document.querySelectorAll("table.board tbody tr");
  function filter() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const part of document.querySelectorAll(".setting")) {
      const wanted = !setting.value || part.dataset.setting === setting.value;
      let here = 0;
      for (const row of part.querySelectorAll("tbody tr")) {
        const text = [...row.querySelectorAll("[title]")].map((node) => node.title).join(" ").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        here += row.hidden ? 0 : 1;
      }
      part.hidden = !wanted || (words.length > 0 && here === 0);
      shown += part.hidden ? 0 : here;
    }
    for (const section of document.querySelectorAll("main section")) section.hidden = ![...section.querySelectorAll(".setting")].some((part) => !part.hidden);
    count.textContent = (shown === rows.length ? "" : shown + " of ") + rows.length + " rows";
  }
  document.getElementById("filters").hidden = false;
  find.addEventListener("input", filter);
  setting.addEventListener("change", filter);
  filter();
})();
