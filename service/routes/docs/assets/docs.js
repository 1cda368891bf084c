// Sends requests from the page. The page says everything without it; the key stays in its field and is stored nowhere.
"use strict";

const access = document.getElementById("access");

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function send(method, form, operation, output) {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const parameter of operation.parameters) {
    const value = form.elements[`${parameter.in} ${parameter.name}`].value;
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value && parameter.in === "query") query.set(parameter.name, value);
    else if (value) headers[parameter.name] = value;
  }
  const key = access.elements.key.value.trim();
  if (key) headers.Authorization = `Bearer ${key}`;
  const body = form.elements.body?.value;
  if (body !== undefined) headers["Content-Type"] = operation.media;
  output.textContent = "...";
  try {
    const url = path + (query.size ? `?${query}` : "");
    const response = await fetch(url, { method, headers, body, credentials: "omit" });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get("content-type") ?? "");
    output.textContent = `${response.status} ${response.statusText}\n\n${isJson ? JSON.stringify(JSON.parse(text), null, 2) : text}`;
  } catch (error) {
    output.textContent = String(error);
  }
}

function addForm(article, operation) {
  const method = article.dataset.method;
  const form = element("form", {});
  for (const parameter of operation.parameters) {
    const input = element("input", {
      name: `${parameter.in} ${parameter.name}`,
      required: Boolean(parameter.required),
      value: parameter.in === "path" ? (parameter.example ?? "") : "",
    });
    form.append(element("label", {}, `${parameter.name} (${parameter.in})`, input));
  }
  if (operation.media) {
    const value = operation.example === undefined ? "" : JSON.stringify(operation.example, null, 2);
    form.append(element("label", {}, `Body (${operation.media})`, element("textarea", { name: "body", value })));
  }
  const output = element("pre", { hidden: true });
  form.append(element("button", {}, `Send ${method}`), output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    output.hidden = false;
    send(method, form, operation, output);
  });
  article.append(element("details", {}, element("summary", {}, "Try it"), form));
}

async function start() {
  const description = await (await fetch("/openapi.json")).json();
  access.hidden = false;
  access.addEventListener("submit", (event) => event.preventDefault());
  for (const article of document.querySelectorAll("article[data-path]")) {
    const { path, method } = article.dataset;
    const shown = description.paths[path][method.toLowerCase()];
    const [media, content] = Object.entries(shown.requestBody?.content ?? {})[0] ?? [];
    addForm(article, { path, parameters: shown.parameters, media, example: content?.example });
  }
}

start();
