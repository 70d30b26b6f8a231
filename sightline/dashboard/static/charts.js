"use strict";
// Draws each chart from the options in the page. Colours that begin with "$" are variables of the style sheet; other
// texts are data and stay as they are, whatever they begin with.
(function () {
  const drawn = new Map();

  function coloured(value, style, key) {
    if (typeof value === "string" && /color$/i.test(key) && /^\$[a-z]+$/.test(value)) return style.getPropertyValue("--" + value.slice(1)).trim();
    if (Array.isArray(value)) return value.map((each) => coloured(each, style, key));
    if (value && typeof value === "object") {
      const found = {};
      for (const name of Object.keys(value)) found[name] = coloured(value[name], style, name);
      return found;
    }
    return value;
  }

  function draw(place) {
    const style = getComputedStyle(document.documentElement);
    const source = document.getElementById("option-" + place.dataset.chart);
    const option = coloured(JSON.parse(source.textContent), style, "");
    option.textStyle.fontFamily = getComputedStyle(document.body).fontFamily;
    const chart = drawn.get(place) || echarts.init(place, null, { renderer: "svg" });
    drawn.set(place, chart);
    chart.setOption(option, true);
    place.dataset.drawn = "yes";
  }

  // A report may hold hundreds: each is drawn when it is about to be seen, or printed. What is folded has no size yet.
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "600px" });
  const places = document.querySelectorAll("[data-chart]");
  for (const place of places) if (places.length > 12 || place.closest("details:not([open])")) seen.observe(place); else draw(place);

  function again() { for (const place of drawn.keys()) draw(place); }
  document.addEventListener("themechange", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("beforeprint", () => { for (const place of places) draw(place); });
  new ResizeObserver(() => { for (const chart of drawn.values()) chart.resize(); }).observe(document.body);
})();
