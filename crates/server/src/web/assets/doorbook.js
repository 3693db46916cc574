// What a page of Doorbook does beyond links and forms. Everything works without it; nothing is loaded but numbers of
// newer events.
"use strict";

const isLocal = document.documentElement.dataset.zone === "local";
const pad = (number, digits = 2) => String(number).padStart(digits, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// Times in the browser's zone, in the form in which the server wrote them.
function local(text, form) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return null;
  const date = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
  const minute = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
  const second = `${minute}:${pad(at.getSeconds())}`;
  const day = `${pad(at.getDate())} ${MONTHS[at.getMonth()]}`;
  // Finer than a Date has.
  const fraction = (/\.(\d+)/.exec(text)?.[1] ?? "").padEnd(3, "0");
  switch (form) {
    case "full": return `${date} ${second}.${fraction}`;
    case "second": return `${date} ${second}`;
    case "day": return `${day} ${at.getFullYear()}`;
    case "minute": return `${day} ${minute}`;
    default: return second;
  }
}

function showLocalTimes() {
  for (const element of document.querySelectorAll("time[datetime], text[data-time]")) {
    const text = element.getAttribute("datetime") ?? element.getAttribute("data-time");
    const shown = local(text, element.getAttribute("data-form"));
    if (shown) element.textContent = shown;
  }
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "local";
  for (const element of document.querySelectorAll("[data-zone-name]")) element.textContent = zone;
}

// Drawing over the chart zooms to what was drawn over.
function letBrush(chart) {
  const brush = chart.querySelector(".brush");
  const [from, to] = [Number(chart.dataset.from), Number(chart.dataset.to)];
  let start = null;
  let end = null;
  const place = (event) => {
    const box = chart.getBoundingClientRect();
    return Math.min(Math.max(event.clientX - box.left, 0), box.width);
  };
  const draw = () => {
    brush.setAttribute("x", Math.min(start, end));
    brush.setAttribute("width", Math.abs(end - start));
  };
  const stop = () => {
    start = null;
    brush.setAttribute("width", 0);
  };
  chart.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    start = end = place(event);
  });
  chart.addEventListener("pointermove", (event) => {
    if (start === null) return;
    end = place(event);
    if (Math.abs(end - start) > 3) {
      chart.setPointerCapture(event.pointerId);
      draw();
    }
  });
  chart.addEventListener("pointerup", () => {
    if (start === null) return;
    const [left, right] = [Math.min(start, end), Math.max(start, end)];
    if (right - left > 3) {
      const width = chart.getBoundingClientRect().width;
      const time = (x) => new Date(Math.round(from + ((to - from) * x) / width)).toISOString();
      zoom(time(left), time(right));
    }
    stop();
  });
  chart.addEventListener("pointercancel", stop);
  // The bars are links, and dragging one would carry its address away.
  chart.addEventListener("dragstart", (event) => event.preventDefault());
}

function zoom(from, to) {
  const address = new URL(location.href);
  address.pathname = "/history";
  for (const name of ["last", "cursor"]) address.searchParams.delete(name);
  address.searchParams.set("from", from);
  address.searchParams.set("to", to);
  location.assign(address);
}

// A click anywhere in a row opens it, unless it marks text or meets a link.
function letRowsOpen(table) {
  for (const row of table.querySelectorAll("tbody tr")) {
    const link = row.querySelector("a.open");
    if (!link) continue;
    row.dataset.href = "";
    row.addEventListener("click", (event) => {
      if (event.target.closest("a, button, input, label") || String(getSelection())) return;
      link.click();
    });
  }
}

function letCopy(button) {
  button.hidden = false;
  const word = button.textContent;
  button.addEventListener("click", async () => {
    const text = button.parentElement.querySelector("pre").textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = button.dataset.copied;
    } catch {
      // Without TLS browsers do not let pages copy: mark it, so that a key does.
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("pre"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
    }
    setTimeout(() => { button.textContent = word; }, 2000);
  });
}

// A menu closes when one goes elsewhere.
function letClose(menu) {
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

// Hours of a week are counted by the server, which has to be told the browser's zone.
function offerOwnZone(link) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone || zone === "UTC") return;
  const address = new URL(link.href);
  address.searchParams.set("zone", zone);
  link.href = address;
  link.textContent = `In ${zone}`;
  link.parentElement.hidden = false;
}

// Newer events are told in one line, and shown when somebody asks for them: nothing moves by itself.
function tellOfNewer(line) {
  const PAUSE = 10_000;
  const PAUSE_MAX = 160_000;
  let pause = PAUSE;
  let away = null;
  let said = "";
  // Read aloud when it says something new, not with each further event.
  const say = (kind, text, link) => {
    line.setAttribute("aria-live", kind === said ? "off" : "polite");
    said = kind;
    line.className = kind;
    line.replaceChildren();
    if (link) {
      const anchor = document.createElement("a");
      anchor.href = location.href;
      anchor.textContent = link;
      line.append(anchor);
    }
    line.append(text);
  };
  const look = async () => {
    if (document.hidden) return true;
    try {
      const answer = await fetch(line.dataset.poll, { redirect: "manual" });
      if (answer.type === "opaqueredirect") {
        say("signed-out", " You are signed out.", "Sign in again.");
        return false;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const { newer } = await answer.json();
      [pause, away] = [PAUSE, null];
      if (newer > 0) say("newer", "", `${newer.toLocaleString("en")} new ${newer === 1 ? "event" : "events"}`);
      else if (said) say("", "");
    } catch {
      away ??= new Date().toISOString();
      pause = Math.min(2 * pause, PAUSE_MAX);
      const since = isLocal ? local(away, "second") : away.slice(0, 19).replace("T", " ");
      say("away", `The server has not answered since ${since}. This page is as it was.`);
    }
    return true;
  };
  const again = async () => {
    if (await look()) setTimeout(again, pause);
  };
  setTimeout(again, pause);
}

if (isLocal) showLocalTimes();
document.querySelectorAll("svg.histogram").forEach(letBrush);
document.querySelectorAll(".rows").forEach(letRowsOpen);
document.querySelectorAll(".copy-button").forEach(letCopy);
document.querySelectorAll("details.chooser").forEach(letClose);
document.querySelectorAll("a.own-zone").forEach(offerOwnZone);
document.querySelectorAll("#newer").forEach(tellOfNewer);

// Who asks for the gaps wants to see them.
for (const link of document.querySelectorAll("a[href='#gaps']")) {
  link.addEventListener("click", () => { document.getElementById("gaps").open = true; });
}

const panel = document.getElementById("detail-title");
if (panel) {
  panel.focus();
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("details.chooser[open]")) {
      document.querySelector(".close").click();
    }
  });
}
