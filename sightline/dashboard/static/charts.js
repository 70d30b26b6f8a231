"use strict";
// Draws each chart from the options in the page. Colours that begin with "$" are variables of the style sheet.
(function () {
  const drawn = new Map();

  function coloured(value, style) {
    if (typeof value === "string" && /^\$[a-z]+$/.test(value)) return style.getPropertyValue("--" + value.slice(1)).trim();
    if (Array.isArray(value)) return value.map((each) => coloured(each, style));
    if (value && typeof value === "object") {
      const found = {};
      for (const name of Object.keys(value)) found[name] = coloured(value[name], style);
      return found;
    }
    return value;
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    for (const place of document.querySelectorAll("[data-chart]")) {
      const source = document.getElementById("option-" + place.dataset.chart);
      const option = coloured(JSON.parse(source.textContent), style);
      option.textStyle.fontFamily = getComputedStyle(document.body).fontFamily;
      const chart = drawn.get(place) || echarts.init(place, null, { renderer: "svg" });
      drawn.set(place, chart);
      chart.setOption(option, true);
      place.dataset.drawn = "yes";
    }
  }

  draw();
  document.addEventListener("themechange", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => { for (const chart of drawn.values()) chart.resize(); }).observe(document.body);
})();
