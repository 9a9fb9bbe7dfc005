"use strict";
/* The threshold explorer without leaving the page: the mark follows the slider, figures follow when it rests. */
(() => {
  const form = document.getElementById("mover");
  if (!form) return;
  const slider = document.getElementById("threshold");
  let asked = 0;
  let timer = 0;

  const mark = () => {
    for (const line of document.querySelectorAll(".looked-at")) {
      const x = Number(line.dataset.left) + Number(slider.value) * Number(line.dataset.plot);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
  };

  const show = async (address) => {
    const turn = ++asked;
    form.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(address, { redirect: "error" });
      if (turn !== asked) return;
      if (!answer.ok) {
        location.assign(address);
        return;
      }
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const then of fresh.querySelectorAll("[data-part]")) {
        const now = document.querySelector(`[data-part="${then.dataset.part}"]`);
        if (!now) continue;
        const open = [...now.querySelectorAll("details[id][open]")].map((one) => one.id);
        now.replaceChildren(...then.childNodes);
        for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      }
      history.replaceState(null, "", address);
      mark();
    } catch {
      if (turn === asked) location.assign(address);
    } finally {
      if (turn === asked) form.removeAttribute("aria-busy");
    }
  };

  const address = () => `${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    show(address());
  });
  slider.addEventListener("input", () => {
    mark();
    clearTimeout(timer);
    timer = setTimeout(() => show(address()), 250);
  });
})();
