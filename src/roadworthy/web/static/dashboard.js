"use strict";
/* Small helps for pages that work without them: look again, filter as you type, send a form when a control moves. */
(() => {
  const seconds = () => Number(document.body.dataset.refresh || 0);
  const spots = "a, button, summary, [tabindex]";

  const busy = () => {
    const active = document.activeElement;
    const typed = [...document.querySelectorAll("input:not([type=hidden]), textarea")].some((one) => one.value !== one.defaultValue);
    return document.hidden || typed || (active && active.matches("input, textarea, select")) || document.querySelector("dialog[open]");
  };

  const swap = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    for (const selector of ["#main", "header.top", "nav.rail", "footer.foot"]) {
      const now = document.querySelector(selector);
      const then = fresh.querySelector(selector);
      if (!now || !then) continue;
      const opened = [...now.querySelectorAll("details")].map((one) => one.open);
      const place = [...now.querySelectorAll(spots)].indexOf(document.activeElement);
      const id = now.contains(document.activeElement) ? document.activeElement.id : "";
      now.replaceChildren(...then.childNodes);
      const details = [...now.querySelectorAll("details")];
      if (details.length === opened.length) details.forEach((one, at) => { one.open = one.open || opened[at]; });
      const again = (id && document.getElementById(id)) || [...now.querySelectorAll(spots)][place];
      if (again) again.focus({ preventScroll: true });
    }
    document.title = fresh.title;
    document.body.dataset.refresh = fresh.body.dataset.refresh || "0";
    enhance();
  };

  const tell = (words) => {
    for (const one of document.querySelectorAll("[data-refreshing]")) one.textContent = words;
  };

  const again = async () => {
    if (!busy()) {
      try {
        const answer = await fetch(location.href, { headers: { "X-Refresh": "1" }, redirect: "error" });
        if (answer.ok) swap(await answer.text());
        else tell(`the last look failed (${answer.status}); these figures are old`);
      } catch {
        tell("the dashboard does not answer; these figures are old");
      }
    }
    else if (!document.hidden) tell("waits while a field is in use; these figures are old");
    if (seconds() > 0) setTimeout(again, seconds() * 1000);
  };

  const enhance = () => {
    for (const form of document.querySelectorAll("form[data-live]:not([data-ready])")) {
      form.dataset.ready = "1";
      form.addEventListener("change", () => form.requestSubmit());
    }
    for (const output of document.querySelectorAll("output[data-of]:not([data-ready])")) {
      output.dataset.ready = "1";
      const control = document.getElementById(output.dataset.of);
      control?.addEventListener("input", () => { output.textContent = control.value; });
    }
  };

  enhance();
  if (seconds() > 0) setTimeout(again, seconds() * 1000);
})();
