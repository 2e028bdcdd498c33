"use strict";
// Adds what comes after the page was made. Everything goes in as text, never as markup.
(() => {
  const body = document.body;
  const byId = (id) => document.getElementById(id);
  const lines = byId("lines");
  const names = { caller: "Caller", caller_keys: "Caller pressed", assistant: "Assistant", gateway: "Call" };
  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const localTime = (at) => at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    if (time.dataset.show === "date") time.textContent = at.toLocaleDateString([], { dateStyle: "medium" }) + ", " + localTime(at);
    else time.title = localTime(at);
  }

  // Agents' clocks are wrong by minutes: count from the gateway's.
  const skew = Date.now() - Date.parse(body.dataset.now);
  const elapsed = () => Date.now() - skew - Date.parse(body.dataset.zero);
  const clock = (milliseconds) => {
    const all = Math.max(0, Math.floor(milliseconds / 1000));
    const two = (number) => String(number).padStart(2, "0");
    const hours = Math.floor(all / 3600);
    return (hours ? hours + ":" + two(Math.floor(all / 60) % 60) : String(Math.floor(all / 60))) + ":" + two(all % 60);
  };

  const atEnd = () => window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 120;
  const toEnd = () => window.scrollTo({ top: document.documentElement.scrollHeight });
  byId("newer").addEventListener("click", () => { byId("newer").hidden = true; toEnd(); });
  window.addEventListener("scroll", () => { if (atEnd()) byId("newer").hidden = true; }, { passive: true });

  const seen = new Set([...lines.children].map((line) => line.dataset.seq));
  const add = (line) => {
    const seq = String(line.seq);
    if (seen.has(seq) || !(line.who in names)) return;
    seen.add(seq);
    const follow = atEnd();
    const item = element("li", line.who + " new");
    item.dataset.seq = seq;
    const meta = element("p", "meta");
    const time = element("time", "", line.offset);
    time.dateTime = line.at;
    time.title = localTime(new Date(line.at));
    meta.append(element("span", "who", names[line.who]), time);
    const text = element("p", "text", line.text);
    text.dir = "auto";
    item.append(meta, text);
    lines.append(item);
    byId("empty").hidden = true;
    if (follow) toEnd(); else byId("newer").hidden = false;
  };

  const head = (call) => {
    body.dataset.state = call.state;
    body.dataset.zero = call.answered || call.started;
    if (byId("state-label").textContent !== call.state_label) byId("state-label").textContent = call.state_label;
    if (call.milliseconds_elapsed !== null) byId("length").textContent = clock(call.milliseconds_elapsed);
    byId("why").hidden = !call.why && call.custom_data.length === 0;
    byId("why-label").textContent = call.why_label;
    byId("why-text").textContent = call.why || "";
    byId("why-text").hidden = !call.why;
    byId("data").hidden = call.custom_data.length === 0;
    byId("data-rows").replaceChildren(...call.custom_data.map(({ key, value }) => {
      const row = element("tr");
      const name = element("th", "", key);
      name.scope = "row";
      const cell = element("td", "", value);
      cell.dir = "auto";
      row.append(name, cell);
      return row;
    }));
  };

  if (body.dataset.state === "ended") return;
  // Why the call comes over is read first; without that, the newest line.
  if (byId("why").hidden) toEnd();
  const tick = () => { if (body.dataset.state !== "ended") byId("length").textContent = clock(elapsed()); };
  tick();
  setInterval(tick, 1000);

  const feed = new EventSource(body.dataset.feed + (body.dataset.after ? "?after=" + body.dataset.after : ""));
  feed.addEventListener("open", () => { byId("offline").hidden = true; });
  feed.addEventListener("error", () => { byId("offline").hidden = false; });
  feed.addEventListener("line", (event) => add(JSON.parse(event.data)));
  feed.addEventListener("call", (event) => head(JSON.parse(event.data)));
  feed.addEventListener("end", () => { feed.close(); byId("offline").hidden = true; });
})();
