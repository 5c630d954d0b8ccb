// The finished video: fetched from the kernel in pieces (the server drops what comes too fast), played, downloaded.
function render({ model, el }) {
  el.classList.add("lipsync", "lipsync-result");
  const state = document.createElement("p");
  state.className = "lipsync-state";
  state.setAttribute("role", "status");
  const video = document.createElement("video");
  video.controls = true;
  video.playsInline = true;
  video.setAttribute("aria-label", "The finished video");
  const link = document.createElement("a");
  link.className = "lipsync-download";
  link.textContent = "Download video";
  el.append(video, link, state);
  let pieces = [], got = 0, url = null, number = null;

  function start() {
    if (url) URL.revokeObjectURL(url);
    url = null; pieces = []; got = 0; number = model.get("number");
    video.hidden = link.hidden = true;
    video.removeAttribute("src");
    state.textContent = "";
    if (model.get("size") > 0) ask();
  }
  function ask() {
    state.textContent = `Fetching the video: ${Math.round(100 * got / model.get("size"))} %`;
    model.send({ kind: "want", number, offset: got });
  }
  model.on("msg:custom", (message, buffers) => {
    if (message.kind !== "part" || message.number !== number || message.offset !== got) return;
    const part = buffers[0];
    pieces.push(part);
    got += part.byteLength;
    if (got < model.get("size")) {
      setTimeout(ask, message.pause_ms);
      return;
    }
    url = URL.createObjectURL(new Blob(pieces, { type: "video/mp4" }));
    pieces = [];
    video.src = url;
    link.href = url;
    link.download = model.get("name");
    video.hidden = link.hidden = false;
    state.textContent = model.get("message");
  });
  model.on("change:number", start);
  start();
  return () => { if (url) URL.revokeObjectURL(url); };
}
export default { render };
