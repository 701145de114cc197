"use strict";
const state = document.getElementById("state");
async function refresh() {
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    state.className = "";
    state.textContent = "live";
  } catch (error) {
    state.className = "gone";
    state.textContent = "the daemon does not answer; this is what it said last";
  }
}
setInterval(() => { if (!document.hidden) refresh(); }, 2000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
state.textContent = "live";
