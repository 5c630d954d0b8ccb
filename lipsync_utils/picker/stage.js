// The picture with a button over every face.
function render({ model, el }) {
  el.classList.add("lipsync", "lipsync-stage");
  const group = document.createElement("div");
  group.className = "lipsync-picture";
  group.setAttribute("role", "group");
  const image = document.createElement("img");
  group.append(image);
  const time = document.createElement("label");
  time.className = "lipsync-time";
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = 0;
  const clock = document.createElement("output");
  time.append("Moment in the video ", slider, clock);
  const list = document.createElement("p");
  list.className = "lipsync-state";
  list.setAttribute("role", "status");
  el.append(group, time, list);
  const buttons = new Map();
  let url = null;

  function picture() {
    if (url) URL.revokeObjectURL(url);
    const data = model.get("image");
    url = data && data.byteLength ? URL.createObjectURL(new Blob([data], { type: "image/jpeg" })) : null;
    group.hidden = !url;
    if (url) image.src = url;
    image.alt = model.get("description");
  }

  function make(track) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "lipsync-face";
    button.append(document.createElement("span"));
    button.addEventListener("click", () => model.send({ kind: "press", track }));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const shown = [...group.querySelectorAll("button")];
      shown[(shown.indexOf(button) + step + shown.length) % shown.length].focus();
    });
    return button;
  }

  function faces() {
    const now = model.get("faces");
    const kept = new Set(now.map((face) => face.track));
    for (const [track, button] of buttons) {
      if (!kept.has(track)) { button.remove(); buttons.delete(track); }
    }
    for (const face of now) {
      if (!buttons.has(face.track)) buttons.set(face.track, make(face.track));
      const button = buttons.get(face.track);
      for (const side of ["left", "top", "width", "height"]) button.style[side] = face[side] + "%";
      button.setAttribute("aria-pressed", face.chosen ? "true" : "false");
      button.setAttribute("aria-label", `Person ${face.number} of ${model.get("count")}` +
        (face.chosen ? ", chosen to speak" : ", not chosen"));
      button.firstChild.textContent = face.chosen ? `${face.number} ✓ speaks` : `${face.number}`;
      const place = [...group.querySelectorAll("button")][now.indexOf(face)];
      if (place !== button) group.insertBefore(button, place || null);
    }
    list.textContent = model.get("message");
    group.setAttribute("aria-label", `Faces: choose who speaks (${now.length} in this picture)`);
  }

  function moments() {
    const last = model.get("n_frames") - 1;
    time.hidden = last < 1;
    slider.max = last;
    slider.value = model.get("frame");
    const seconds = model.get("frame") / model.get("fps");
    clock.textContent = ` ${seconds.toFixed(1)} s`;
    slider.setAttribute("aria-valuetext", `${seconds.toFixed(1)} seconds`);
  }

  let asked = null;
  slider.addEventListener("input", () => {
    clock.textContent = ` ${(slider.value / model.get("fps")).toFixed(1)} s`;
    clearTimeout(asked);
    asked = setTimeout(() => model.send({ kind: "frame", frame: Number(slider.value) }), 150);
  });
  model.on("change:image change:description", picture);
  model.on("change:faces change:count change:message", faces);
  model.on("change:n_frames change:frame change:fps", moments);
  picture(); faces(); moments();
  return () => { if (url) URL.revokeObjectURL(url); };
}
export default { render };
