// A file input that checks the size here, before anything is sent, and sends the file in pieces that the
// websocket takes. Each piece is answered; the next one is sent then.
const PIECE = 1 << 20;

function words(bytes) {
  return bytes < 10e6 ? (bytes / 1e6).toFixed(1) + " MB" : Math.ceil(bytes / 1e6) + " MB";
}

function render({ model, el }) {
  el.classList.add("lipsync", "lipsync-upload");
  const id = "u" + Math.random().toString(36).slice(2);
  const label = document.createElement("label");
  label.htmlFor = id;
  const input = document.createElement("input");
  input.type = "file";
  input.id = id;
  input.setAttribute("aria-describedby", id + "s");
  const state = document.createElement("span");
  state.id = id + "s";
  state.className = "lipsync-state";
  state.setAttribute("role", "status");
  el.append(label, input, state);
  let current = null;

  function show() {
    label.textContent = model.get("label");
    input.accept = model.get("accept");
    state.textContent = model.get("state");
    input.disabled = model.get("disabled");
  }

  function piece() {
    const { file, number, offset } = current;
    if (offset >= file.size) return;
    const end = Math.min(offset + PIECE, file.size);
    file.slice(offset, end).arrayBuffer().then(
      (data) => model.send({ kind: "piece", number, offset, total: file.size, name: file.name }, undefined, [data]),
      () => { state.textContent = "The file cannot be read; choose it again."; current = null; });
  }

  input.addEventListener("change", () => {
    const file = input.files[0];
    if (!file) return;
    input.value = "";  // the same file can be chosen again
    const limit = model.get("limit_bytes");
    if (file.size > limit) {
      state.textContent = `${file.name} has ${words(file.size)}; at most ${words(limit)} are allowed. ` +
        "Make it shorter or smaller. Nothing was sent.";
      return;
    }
    if (file.size === 0) {
      state.textContent = `${file.name} is empty.`;
      return;
    }
    current = { file, number: Date.now() % 1e9, offset: 0 };
    state.textContent = `${file.name}: sending`;
    piece();
  });

  model.on("msg:custom", (message) => {
    if (!current || message.number !== current.number) return;
    if (message.kind === "refused") { current = null; return; }
    current.offset = message.received;
    const share = Math.round(100 * current.offset / current.file.size);
    if (current.offset < current.file.size) {
      state.textContent = `${current.file.name}: ${share} % sent`;
      piece();
    } else {
      current = null;
    }
  });
  for (const name of ["label", "accept", "state", "disabled"]) model.on("change:" + name, show);
  show();
}
export default { render };
