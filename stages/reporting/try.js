// The script of the page to try the model: images in, answers out. The model itself is in try_model.js.
"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const { classes, names } = data, isBinary = classes.length === 2;
const MOST_BARS = 10; // classes that are shown at first
const SIDE = 480, THUMBNAIL = 48; // longer sides of images on the page, in pixels
const HEAD = 2 ** 20; // bytes of a file that hold its frame header, behind the metadata
const INFERNO = [[0, 0, 4], [27, 12, 65], [74, 12, 107], [120, 28, 109], [165, 44, 96], [207, 68, 70], [237, 105, 37], [251, 155, 6], [247, 209, 61], [252, 255, 164]];
const items = []; // {file, name, answer, problem, row} of the images, in their order
let shown = null, allBars = false, stream = null, queue = Promise.resolve(), model;

const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const bdi = (text) => make("bdi", { textContent: text });
const say = (text) => { $("status").textContent = text; };
const pause = () => new Promise((resolve) => { setTimeout(resolve); }); // lets the browser draw and react
const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

function percent(fraction) { // as the report writes it
  if (fraction > 0 && fraction < 0.0005) return "<0.1%";
  if (fraction >= 0.9995 && fraction < 1) return ">99.9%";
  return `${(100 * fraction).toFixed(1).replace(/\.0$/, "")}%`;
}

// The model on an image, which drawImage() takes ----------------------------------------------------------------------------
function classify(source, width, height, head) {
  const context = make("canvas", {}).getContext("2d", { willReadFrequently: true });
  const read = (top, rows) => {
    Object.assign(context.canvas, { width, height: rows }); // and clears it
    context.drawImage(source, 0, top, width, rows, 0, 0, width, rows);
    return context.getImageData(0, 0, width, rows).data;
  };
  return model(tryModel.square(width, height, read, head, data.size, data.background));
}

// Reads an image file, puts the answer into its item, and returns the decoded image; null if it cannot be read.
async function analyse(item) {
  try {
    const head = new Uint8Array(await item.file.slice(0, HEAD).arrayBuffer());
    const bitmap = await createImageBitmap(item.file, { premultiplyAlpha: "none" }); // upright, in sRGB
    item.answer = classify(bitmap, bitmap.width, bitmap.height, head);
    return bitmap;
  } catch (error) {
    item.problem = "This browser cannot read it as an image.";
    console.debug(error);
    return null;
  }
}

// The answer ----------------------------------------------------------------------------------------------------------------
const isUnlike = (answer) => answer.novelty > 1;

// Draws an image into a canvas, whose longer side has `side` pixels.
function draw(canvas, source, width, height, side) {
  const scale = side / Math.max(width, height);
  Object.assign(canvas, { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
}

// Draws the image in grey under its heat map, bilinearly enlarged, as the report does.
function drawHeat(heat) {
  const { width, height } = $("image"), canvas = $("heat"), side = Math.sqrt(heat.length);
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage($("image"), 0, 0);
  const image = context.getImageData(0, 0, width, height), pixels = image.data;
  const places = (length) => Array.from({ length }, (_, n) => {
    const at = Math.min(side - 1, Math.max(0, ((n + 0.5) * side) / length - 0.5)), low = Math.floor(at);
    return [low, Math.min(side - 1, low + 1), at - low];
  });
  const columns = places(width), lines = places(height);
  for (let y = 0; y < height; y++) {
    const [top, bottom, down] = lines[y];
    for (let x = 0; x < width; x++) {
      const [left, right, across] = columns[x], n = (y * width + x) * 4;
      const above = heat[top * side + left] * (1 - across) + heat[top * side + right] * across;
      const below = heat[bottom * side + left] * (1 - across) + heat[bottom * side + right] * across;
      const at = (above * (1 - down) + below * down) * (INFERNO.length - 1), low = Math.min(INFERNO.length - 2, Math.floor(at));
      const grey = (pixels[n] + pixels[n + 1] + pixels[n + 2]) / 3;
      for (let c = 0; c < 3; c++) {
        const colour = INFERNO[low][c] + (at - low) * (INFERNO[low + 1][c] - INFERNO[low][c]);
        pixels[n + c] = (grey + colour) / 2;
      }
    }
  }
  context.putImageData(image, 0, 0);
}

function drawBars({ probabilities, predicted }) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const rows = order.slice(0, allBars ? order.length : MOST_BARS).map((c) => {
    const bar = make("div", { ariaHidden: "true" }, make("i", {}));
    bar.firstChild.style.width = `${100 * probabilities[c]}%`;
    if (isBinary && c === 1) {
      bar.append(make("b", {}));
      bar.lastChild.style.left = `${100 * data.threshold}%`;
    }
    return make("tr", { className: c === predicted ? "first" : "" }, make("th", { scope: "row" }, bdi(names[c])),
      make("td", { className: "n", textContent: percent(probabilities[c]) }), make("td", { className: "bar" }, bar));
  });
  $("bars").replaceChildren(...rows);
  $("more").hidden = classes.length <= MOST_BARS;
  $("more").textContent = allBars ? `Show ${MOST_BARS} classes` : `Show all ${classes.length.toLocaleString("en")} classes`;
  $("more").ariaExpanded = String(allBars);
}

function listed(set) { // class names, with commas between them
  return set.flatMap((c, n) => [n ? ", " : "", bdi(names[c])]);
}

// Shows the answer about an image: `source`, which drawImage() takes.
function show(name, answer, source, width, height) {
  const { predicted, probabilities, novelty } = answer;
  shown = answer;
  $("answer").hidden = false;
  $("name").textContent = name;
  $("predicted").textContent = names[predicted];
  $("probability").textContent = percent(probabilities[predicted]);
  $("unlike").hidden = data.novelty_threshold === null;
  $("unlike").className = isUnlike(answer) ? "warning" : "soft";
  $("unlike").textContent = isUnlike(answer)
    ? `Unlike the training images (novelty ${novelty.toFixed(2)}, above 1): the answer means little.`
    : `Like the training images (novelty ${novelty.toFixed(2)}, at most 1).`;
  if (isBinary) $("rule").replaceChildren(bdi(names[1]), ` is predicted at ${percent(data.threshold)} or above: the line across its bar.`);
  else $("rule").replaceChildren("Set that holds the right class in 95% of cases: ", ...listed(answer.set), ".");
  $("rule").hidden = !isBinary && !data.set_threshold;
  drawBars(answer);
  draw($("image"), source, width, height, SIDE);
  drawHeat(answer.heat);
  const evidence = answer.heat.some((x) => x > 0);
  $("heat-caption").replaceChildren(evidence ? "What it looked at: bright places are evidence for " : "Nothing in the image is evidence for ", bdi(names[predicted]), ".");
}

function inWords({ predicted, probabilities, ...answer }) {
  return `${names[predicted]}, ${percent(probabilities[predicted])}${isUnlike(answer) ? ", unlike the training images" : ""}`;
}

// Several images ------------------------------------------------------------------------------------------------------------
function addRow(item, bitmap) {
  const thumbnail = make("canvas", { ariaHidden: "true", width: 1, height: 1 });
  if (bitmap) draw(thumbnail, bitmap, bitmap.width, bitmap.height, THUMBNAIL);
  const name = make("th", { scope: "row" }, item.problem ? bdi(item.name) : make("button", { type: "button", className: "link" }, bdi(item.name)));
  item.row = make("tr", {}, make("td", { className: "wide" }, thumbnail), name);
  if (item.problem) {
    item.row.append(make("td", { className: "bad", colSpan: isBinary ? 3 : 4, textContent: item.problem }));
  } else {
    const { predicted, probabilities, set } = item.answer;
    name.firstChild.addEventListener("click", () => select(item));
    item.row.append(make("td", {}, bdi(names[predicted])), make("td", { className: "n", textContent: percent(probabilities[predicted]) }),
      make("td", { className: isUnlike(item.answer) ? "bad" : "", textContent: isUnlike(item.answer) ? "unlike" : "like" }));
    if (!isBinary) item.row.append(make("td", { className: "wide" }, ...listed(set)));
  }
  $("rows").append(item.row);
  $("all").hidden = items.length < 2;
}

function mark(item) {
  for (const { row } of items) row?.removeAttribute("aria-current");
  item?.row.setAttribute("aria-current", "true");
}

// Shows the answer about an image of the table. Its pixels were not kept.
async function select(item) {
  stopCamera();
  const bitmap = await analyse(item);
  if (!bitmap) return say(`${item.name}: ${item.problem}`); // the file has changed or gone
  show(item.name, item.answer, bitmap, bitmap.width, bitmap.height);
  mark(item);
  bitmap.close();
  say(`${item.name}: ${inWords(item.answer)}`);
  $("answer").scrollIntoView({ block: "nearest" });
}

function add(files) {
  stopCamera();
  const added = [...files].map((file) => ({ file, name: file.name || "pasted image" }));
  items.push(...added);
  queue = queue.then(() => work(added)).catch((error) => say(String(error)));
}

async function work(added) {
  let done = 0, first = null;
  await ready;
  $("progress").hidden = added.length < 2;
  $("progress").max = added.length;
  for (const item of added) {
    if (!items.includes(item)) break; // all were removed
    if (!done && added.length > 1) say(`Working on ${counted(added.length, "image")}.`);
    const bitmap = await analyse(item);
    addRow(item, bitmap);
    if (bitmap && !first) {
      first = item;
      show(item.name, item.answer, bitmap, bitmap.width, bitmap.height);
      mark(item);
    }
    bitmap?.close();
    $("progress").value = ++done;
    await pause();
  }
  $("progress").hidden = true;
  if (done < added.length) return;
  if (added.length === 1) say(`${added[0].name}: ${first ? inWords(first.answer) : added[0].problem}`);
  else {
    const failed = added.filter((item) => item.problem).length;
    say(`${counted(added.length, "image")} done${failed ? `, ${failed} of which cannot be read` : ""}; the table has them all.`);
  }
}

// The columns are those of `python -m stages.tools.predict --format csv`.
function save() {
  const quote = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const heading = ["path", "predicted", "probability", "novelty", "unlike", ...(isBinary ? [] : ["prediction_set"]), ...classes.map((name) => `probability_${name}`)];
  const rows = items.filter((item) => item.answer).map(({ name, answer }) => [
    quote(name), quote(classes[answer.predicted]), answer.probabilities[answer.predicted], answer.novelty, quote(isUnlike(answer)),
    ...(isBinary ? [] : [quote(JSON.stringify(answer.set.map((c) => classes[c])))]), ...answer.probabilities,
  ]);
  const lines = [heading.map(quote), ...rows].map((cells) => `${cells.join(",")}\n`);
  const link = make("a", { href: URL.createObjectURL(new Blob(lines, { type: "text/csv" })), download: "predictions.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  say(`Saved ${counted(rows.length, "image")} as predictions.csv.`);
}

// The camera ----------------------------------------------------------------------------------------------------------------
function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  document.querySelector("[data-do=camera]").ariaPressed = "false";
}

async function camera() {
  if (stream) {
    stopCamera();
    return say("The camera is off.");
  }
  if (!navigator.mediaDevices?.getUserMedia) {
    return say("This browser does not let a page that is a file use the camera live: take a photo with the camera, and choose it here.");
  }
  say("Waiting for the camera: the browser may ask whether this page may use it.");
  const video = make("video", { muted: true, playsInline: true });
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    document.querySelector("[data-do=camera]").ariaPressed = "true";
    video.srcObject = stream;
    await video.play();
    await ready;
  } catch (error) {
    stopCamera();
    return say(error.name === "NotFoundError"
      ? "There is no camera."
      : `The browser does not let this page use the camera (${error.name}): allow it in the browser's settings, or take a photo and choose it here.`);
  }
  const mine = stream;
  mark(null);
  let said = "";
  mine.getVideoTracks()[0].addEventListener("ended", stopCamera);
  while (stream === mine) {
    const { videoWidth: width, videoHeight: height } = video;
    if (width) {
      const answer = classify(video, width, height, new Uint8Array());
      show("Camera", answer, video, width, height);
      const now = `${answer.predicted} ${isUnlike(answer)}`;
      if (now !== said) say(inWords(answer)); // a screen reader says what changes, not every image
      said = now;
    }
    await pause();
    await new Promise(requestAnimationFrame); // none while the page is hidden
  }
}

// Events --------------------------------------------------------------------------------------------------------------------
const actions = {
  choose: () => $("files").click(),
  photograph: () => $("photo").click(),
  camera,
  save,
  clear: () => {
    stopCamera();
    items.length = 0;
    $("rows").replaceChildren();
    for (const id of ["all", "answer"]) $(id).hidden = true;
    say("All images are removed.");
    document.querySelector("[data-do=choose]").focus();
  },
  more: () => {
    allBars = !allBars;
    drawBars(shown);
  },
};
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) actions[button.dataset.do]();
});
for (const id of ["files", "photo"]) {
  $(id).addEventListener("change", (event) => {
    if (event.target.files.length) add(event.target.files);
    event.target.value = ""; // the same file can be chosen once more
  });
}
document.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) add(event.clipboardData.files);
});
for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault(); // the browser would open the file
    $("drop").classList.toggle("over", type === "dragenter" || type === "dragover");
    if (type === "drop") add(event.dataTransfer.files);
  });
}

const ready = (async () => {
  await pause();
  const bytes = (id) => tryModel.bytesOf($(id).textContent);
  model = await tryModel.load(tf, bytes("wasm"), data, tryModel.fromHalf(bytes("kernels")), new Float32Array(bytes("biases").buffer));
  model(new Uint8ClampedArray(data.size * data.size * 3)); // the first image takes longer
})();
ready.then(
  () => say("The model is ready."),
  (error) => say(`The model does not run here: ${error.message}. Update the browser, or open the page in another one.`),
);
})();
