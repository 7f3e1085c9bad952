"use strict";
(function () {
  const flagged = document.getElementById("flagged");
  multicopyTable(document.getElementById("table"), {
    filter: document.getElementById("filter"), shown: document.getElementById("shown"), noun: "group",
    controls: [flagged], keep: (row) => !flagged.checked || row.dataset.flagged,
  });
})();
