"use strict";
(() => {
  const search = document.querySelector("#filter"), rows = [...document.querySelectorAll("tbody tr")];
  const button = document.querySelector("#compare");
  function update() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    document.querySelector("#count").textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length + " runs";
    const chosen = rows.filter((row) => row.querySelector("input:checked"));
    const tasks = new Set(chosen.map((row) => row.dataset.task));
    button.disabled = chosen.length < 2 || tasks.size > 1;
    button.textContent = tasks.size > 1 ? "Runs of one task compare" : "Compare " + (chosen.length || "");
  }
  search.addEventListener("input", update);
  document.querySelector("tbody").addEventListener("change", update);
  update();
})();
