"use strict";
// The page is served at BASE/docs, so BASE works in any place, behind a stage or a local prefix too.
// The origin has no credentials, which fetch would refuse when the page was opened with some in its address.
const base = location.origin + location.pathname.replace(/\/docs\/?$/, "");
const key = document.getElementById("key");

function address(route) {
  let path = route.dataset.path;
  const query = new URLSearchParams();
  for (const field of route.querySelectorAll("input[data-name]")) {
    if (field.dataset.in === "path") {
      path = path.replace("{" + field.dataset.name + "}", encodeURIComponent(field.value));
    } else if (field.value) {
      query.set(field.dataset.name, field.value);
    }
  }
  const tail = query.toString();
  return base + path + (tail ? "?" + tail : "");
}

async function ask(route) {
  const body = route.querySelector("textarea");
  const headers = {};
  if (key.value) headers["x-api-key"] = key.value.trim();
  if (body) headers["content-type"] = "application/json";
  const started = performance.now();
  const answer = await fetch(address(route), { method: route.dataset.method, headers, body: body ? body.value : undefined });
  const text = await answer.text();
  return [answer.status + " in " + Math.round(performance.now() - started) + " ms", pretty(text)];
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 1); } catch { return text; }
}

for (const route of document.querySelectorAll(".route")) {
  route.querySelector("button").addEventListener("click", async () => {
    const line = route.querySelector("output"), answer = route.querySelector(".answer");
    line.textContent = "asking…";
    try {
      [line.textContent, answer.textContent] = await ask(route);
    } catch (error) {
      [line.textContent, answer.textContent] = ["no answer", String(error)];
    }
    answer.hidden = false;
  });
}

for (const line of document.querySelectorAll(".curl")) {
  line.textContent = line.textContent.replace("$TIDEMILL_URL", base);
}
