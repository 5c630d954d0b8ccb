// Draws what the kernel says in `view` and `image`, sends what the visitor does.
const PIECE = 1 << 20; // of an upload; the next one goes when the last was taken
const MEDIA = "image/*,video/*,.mkv,.heic", SOUND = "audio/*,video/*,.m4a,.flac,.ogg,.mkv";
const blob = (parts, type) => URL.createObjectURL(new Blob(parts, { type })), forget = URL.revokeObjectURL;

function node(tag, name, inside = [], traits = {}) {
  const made = Object.assign(document.createElement(tag), { className: "lipsync-" + name }, traits);
  made.append(...inside);
  return made;
}

function fill(parent, nodes) { // without touching what is in its place already
  const now = parent.children, focused = document.activeElement;
  if (nodes.length === now.length && nodes.every((one, place) => one === now[place])) return;
  parent.replaceChildren(...nodes);
  focused.focus();
}

function render({ model, el }) {
  let view = {}, sending, own = "", video = { number: 0 }, timer;
  const made = {}, keep = (key, make) => (made[key] ||= make());
  const send = (action, message, data = []) => { own = ""; model.send({ do: action, ...message }, undefined, data); };

  // An area that takes a file, dropped or chosen. track: whose speech; null: the picture or video.
  function drop(track, accept) {
    const input = node("input", "file", [], { type: "file", accept }), title = node("b"), state = node("span");
    const root = node("label", "drop", [input, title, state]);
    // The input covers the area, so a browser gives it what is dropped there.
    input.onchange = () => { if (input.files[0]) upload(input.files[0], track); input.value = ""; }; // choose it again
    return { root, show(name, words) {
      title.textContent = name;
      state.textContent = sending?.track === track ? `${sending.file.name}: ${Math.floor(100 * sending.offset / sending.file.size)} % sent` : words;
      input.disabled = view.busy;
      return root;
    } };
  }
  function upload(file, track) {
    own = !file.size ? `${file.name} is empty.` : file.size <= view.limit_bytes ? "" :
      `${file.name} has ${Math.ceil(file.size / 1e6)} MB; at most ${view.limit_bytes / 1e6} MB are allowed. Nothing was sent.`;
    sending = own ? null : { file, track, number: Date.now(), offset: 0 };
    if (sending) piece();
    draw();
  }
  function piece() {
    const { file, track, number, offset } = sending;
    file.slice(offset, offset + PIECE).arrayBuffer().then(
      (data) => send("piece", { track, number, offset, total: file.size, name: file.name }, [data]),
      () => { own = `${file.name} cannot be read; choose it again.`; sending = null; draw(); });
  }

  const media = drop(null, MEDIA), image = node("img"), faces = node("div", "faces", [image], { role: "group", ariaLabel: "Faces: choose who speaks" });
  const slider = node("input", "", [], { type: "range" }), clock = node("output"), time = node("label", "time", ["Moment", slider, clock]);
  const press = (action, words, name = "plain") => node("button", name, [words], { onclick: () => send(action) });
  const preview = press("preview", "Preview one frame"), run = press("run", "Make the video", "main");
  const progress = node("progress", "", [], { ariaLabel: "Progress" });
  const bar = node("div", "row", [progress, press("cancel", "Cancel")]), hint = node("p"), rows = node("div", "panel");
  const message = node("p", "message"), result = node("div", "panel"), buttons = node("div", "row", [preview, run]);
  const picture = node("div", "picture", [faces, time]), fine = node("p", "fine");
  const panel = node("div", "panel");
  el.classList.add("lipsync");
  el.ondragover = el.ondrop = (event) => { if (!event.target.accept || view.busy) event.preventDefault(); }; // leaves
  image.onload = () => faces.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
  slider.oninput = () => {
    clock.textContent = `${(slider.value / view.fps).toFixed(1)} s`;
    clearTimeout(timer);
    timer = setTimeout(() => send("frame", { number: +slider.value }), 150);
  };

  function face({ number, track, chosen, place }, people) {
    const root = keep("face" + track, () => node("button", "face", [node("span")], {
      onclick: () => send("press", { number }),
      onkeydown(event) {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], all = [...faces.children].slice(1);
        if (!step) return;
        event.preventDefault();
        all.at((all.indexOf(root) + step) % all.length).focus();
      } }));
    ["left", "top", "width", "height"].forEach((side, index) => { root.style[side] = 100 * place[index] + "%"; });
    root.ariaPressed = chosen;
    root.ariaLabel = `Person ${number} of ${people.length}, ${chosen ? "chosen to speak" : "not chosen"}`;
    root.firstChild.textContent = number + (chosen ? " ✓ speaks" : "");
    return root;
  }
  function draw() {
    view = model.get("view");
    const { people = [], name } = view;
    el.classList.toggle("empty", !name);
    fill(el, [...(view.upload ? [media.root] : []), ...(name ? [picture, panel] : [message]), fine]);
    bar.hidden = view.progress === null;
    if (name) fill(panel, [hint, rows, buttons, bar, message, result]);
    media.show((name ? "Another" : "Choose a") + " picture or video", name || "or drop it here. " + view.limits);
    fill(faces, [image, ...people.filter((one) => one.place).map((one) => face(one, people))]);
    fill(rows, people.filter((one) => one.chosen).map(({ track, number, says }) => keep("row" + track, () => drop(track, SOUND))
      .show(`Speech of person ${number}`, says ? "Says: " + says : "Choose a sound or a video with speech, or drop it here.")));
    image.alt = name;
    time.hidden = !(view.n_frames > 1);
    Object.assign(slider, { max: view.n_frames - 1, value: view.frame });
    slider.ariaValueText = clock.textContent = `${(view.frame / view.fps).toFixed(1)} s`;
    hint.textContent = view.hint;
    preview.disabled = run.disabled = view.busy || !view.ready;
    if (view.progress) progress.value = view.progress; else progress.removeAttribute("value");
    message.role = own || view.wrong ? "alert" : "status";
    message.textContent = own || view.message;
    fine.textContent = view.fine_print;
    if (video.number === (view.result?.number || 0)) return;
    forget(video.url);
    result.replaceChildren();
    video = { number: 0, ...view.result, parts: [], got: 0 };
    if (video.number) want();
  }

  // The video comes in pieces too: the server drops what comes too fast.
  const want = () => send("want", { number: video.number, offset: video.got });
  function part(answer, data) {
    if (answer.number !== video.number || answer.offset !== video.got) return;
    video.parts.push(data);
    video.got += data.byteLength;
    if (video.got < video.size) return setTimeout(want, answer.pause_ms);
    const src = video.url = blob(video.parts, "video/mp4");
    const player = node("video", "video", [], { controls: true, playsInline: true, src, ariaLabel: "The finished video" });
    const link = node("a", "main", ["Download video"], { href: src, download: video.name });
    player.onloadeddata = () => result.scrollIntoView({ block: "nearest" });
    result.replaceChildren(player, link);
  }
  model.on("msg:custom", (answer, [data]) => {
    if (answer.is === "part") return part(answer, data);
    if (answer.number !== sending?.number) return;
    sending.offset = answer.received;
    if (answer.is === "taken" && sending.offset < sending.file.size) piece(); else sending = null;
    draw();
  });
  function paint() {
    forget(image.src);
    image.src = blob([model.get("image")], "image/jpeg");
  }
  model.on("change:view", draw);
  model.on("change:image", paint);
  draw();
  paint();
  return () => [image.src, video.url].forEach(forget);
}
export default { render };
