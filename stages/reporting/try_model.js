// The model of the page to try it, without the page: from pixels to probabilities, novelty and heat map. Tests run this in Node.
"use strict";
const tryModel = (() => {
const ONE = 2 ** 22; // of the whole numbers that weigh pixels in Pillow's resize
const SCALES = [8, 4, 2, 1]; // by which predict's JPEG decoder divides while it decodes, never below the target

// Returns the bytes of a text in Base64.
function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text.trim());
  return Uint8Array.from(atob(text.trim()), (x) => x.charCodeAt(0));
}

// Returns float16 numbers, little-endian, as Float32Array.
function fromHalf(bytes) {
  const table = new Float32Array(65536); // of all float16 numbers
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 0) table[bits] = sign * fraction * 2 ** -24;
    else if (exponent === 31) table[bits] = fraction ? NaN : sign * Infinity;
    else table[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.byteLength / 2 }, (_, n) => table[view.getUint16(2 * n, true)]);
}

// Returns [[first, weights], ...], a pair for each of `size` places, of which the sum of weights is ONE: Pillow's resize with
// the filter BILINEAR, a triangle, which is as wide as the pixels that a place covers, and thus has antialiasing.
function triangles(length, size) {
  const scale = length / size, support = Math.max(1, scale);
  return Array.from({ length: size }, (_, place) => {
    const center = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5)), end = Math.min(length, Math.trunc(center + support + 0.5));
    const weights = Array.from({ length: end - first }, (_, n) => Math.max(0, 1 - Math.abs((first + n - center + 0.5) / support)));
    const sum = weights.reduce((a, b) => a + b, 0);
    return [first, Float64Array.from(weights, (x) => Math.floor((x / sum) * ONE + 0.5))];
  });
}

// Returns rows of RGBA pixels, premultiplied by their opacity, averaged over squares of `scale` pixels, as the JPEG decoder
// does it. Only the last strip of an image may have rows, and any may have columns, that fill no square.
function averaged(rows, width, scale) {
  const height = rows.length / 4 / width;
  if (scale === 1) return rows;
  const columns = Math.ceil(width / scale), result = new Uint8ClampedArray(Math.ceil(height / scale) * columns * 4);
  const sums = new Uint32Array(columns * 4), counts = new Uint32Array(columns);
  for (let top = 0; top < height; top += scale) {
    sums.fill(0);
    counts.fill(0);
    for (let y = top; y < Math.min(top + scale, height); y++) {
      for (let x = 0, from = y * width * 4; x < width; x++, from += 4) {
        const column = (x / scale) | 0, to = column * 4;
        sums[to] += rows[from];
        sums[to + 1] += rows[from + 1];
        sums[to + 2] += rows[from + 2];
        sums[to + 3] += rows[from + 3];
        counts[column]++;
      }
    }
    const start = (top / scale) * columns * 4;
    for (let n = 0; n < sums.length; n++) result[start + n] = sums[n] / counts[n >> 2]; // rounds
  }
  return result;
}

// Tells a JPEG file by its beginning.
function isJpeg(head) {
  return head[0] === 0xff && head[1] === 0xd8 && head[2] === 0xff;
}

// Tells whether a JPEG file has the colour of every second column only, but of all lines (4:2:2), by its frame header.
function isHalved(head) {
  for (let at = 2; at + 14 < head.length && head[at] === 0xff; at += 2 + head[at + 2] * 256 + head[at + 3]) {
    if (head[at + 1] >= 0xc0 && head[at + 1] <= 0xc2) return head[at + 9] === 3 && head[at + 11] === 0x21 && head[at + 14] === 0x11;
  }
  return false;
}

// Halves the columns of colour, and doubles them anew, by interpolation or not, as the JPEG decoder does with 4:2:2 when it
// divides the size. Without this, the probability of one of 65 photographs differed by 0.03.
function halved(rows, columns, interpolates) {
  const pairs = Math.ceil(columns / 2), means = new Float32Array(pairs * 3);
  const brightness = (n) => 0.299 * rows[n] + 0.587 * rows[n + 1] + 0.114 * rows[n + 2];
  for (let start = 0; start < rows.length; start += columns * 4) {
    for (let pair = 0; pair < pairs; pair++) {
      const left = start + pair * 8, right = 2 * pair + 1 < columns ? left + 4 : left;
      const both = brightness(left) + brightness(right);
      for (let c = 0; c < 3; c++) means[pair * 3 + c] = (rows[left + c] + rows[right + c] - both) / 2;
    }
    for (let x = 0, n = start; x < columns; x++, n += 4) {
      const pair = x >> 1, beside = interpolates ? Math.min(pairs - 1, Math.max(0, pair + (x & 1 ? 1 : -1))) : pair, y = brightness(n);
      for (let c = 0; c < 3; c++) rows[n + c] = y + (3 * means[pair * 3 + c] + means[beside * 3 + c]) / 4;
    }
  }
  return rows;
}

function premultiplied(rows) {
  for (let n = 0; n < rows.length; n += 4) {
    const opacity = rows[n + 3];
    if (opacity === 255) continue;
    for (let c = n; c < n + 3; c++) rows[c] = (rows[c] * opacity) / 255;
  }
  return rows;
}

// Decodes an image as predict does: returns its pixels, resized to a square without keeping the aspect ratio, on a background.
//   width, height: size of the image in pixels, orientation applied.
//   read: function from the number of a row and a number of rows to their pixels, RGBA, Uint8ClampedArray.
//   head: beginning of its file, Uint8Array, with the frame header of a JPEG file; empty for an image of no file.
// Returns RGB, Uint8ClampedArray [size, size, 3].
function square(width, height, read, head, size, background) {
  const least = Math.min(Math.floor(width / size), Math.floor(height / size));
  const scale = isJpeg(head) ? (SCALES.find((x) => least >= x) ?? 1) : 1, isDivided = scale > 1 && isHalved(head);
  const columns = Math.ceil(width / scale), lines = Math.ceil(height / scale);
  const across = triangles(columns, size), down = triangles(lines, size);
  const narrow = new Uint8ClampedArray(lines * size * 4);
  const strip = Math.max(8, Math.min(256, Math.floor(2 ** 20 / width / 8) * 8)); // rows at a time: a photograph takes 50 MB
  for (let top = 0; top < height; top += strip) {
    const rows = averaged(premultiplied(read(top, Math.min(strip, height - top))), width, scale);
    if (isDivided) halved(rows, columns, scale < 8);
    for (let y = 0; y < rows.length / 4 / columns; y++) {
      for (let x = 0; x < size; x++) {
        const [first, weights] = across[x], to = ((top / scale + y) * size + x) * 4;
        let red = 0, green = 0, blue = 0, opacity = 0;
        for (let n = 0, from = (y * columns + first) * 4; n < weights.length; n++, from += 4) {
          red += weights[n] * rows[from];
          green += weights[n] * rows[from + 1];
          blue += weights[n] * rows[from + 2];
          opacity += weights[n] * rows[from + 3];
        }
        narrow[to] = Math.floor(red / ONE + 0.5);
        narrow[to + 1] = Math.floor(green / ONE + 0.5);
        narrow[to + 2] = Math.floor(blue / ONE + 0.5);
        narrow[to + 3] = Math.floor(opacity / ONE + 0.5);
      }
    }
  }
  const pixels = new Uint8ClampedArray(size * size * 3), cell = new Uint8ClampedArray(4);
  for (let y = 0; y < size; y++) {
    const [first, weights] = down[y];
    for (let x = 0; x < size; x++) {
      for (let c = 0; c < 4; c++) {
        let sum = 0;
        for (let n = 0; n < weights.length; n++) sum += weights[n] * narrow[((first + n) * size + x) * 4 + c];
        cell[c] = Math.floor(sum / ONE + 0.5);
      }
      for (let c = 0; c < 3; c++) pixels[(y * size + x) * 3 + c] = cell[c] + ((255 - cell[3]) * background[c]) / 255;
    }
  }
  return pixels;
}

// Returns the arrays of the layers, of the head and of the novelty, in the order in which browser_model.convert writes them.
function unpack(description, kernels, biases) {
  const take = (from) => {
    let place = 0;
    return (length) => {
      if ((place += length) > from.length) throw new Error("the weights do not fit the layers");
      return from.subarray(place - length, place);
    };
  };
  const kernel = take(kernels), bias = take(biases);
  const product = (shape) => shape.reduce((a, b) => a * b, 1);
  const arrays = description.layers.filter((layer) => layer.kernel).map(({ op, kernel: shape }) => (
    { kernel: kernel(product(shape)), bias: bias(op === "conv2d" ? shape[3] : shape[2]) }
  ));
  const depth = arrays.at(-1).bias.length, outputs = description.classes.length === 2 ? 1 : description.classes.length;
  const head = { kernel: kernel(depth * outputs), bias: bias(outputs) };
  return { arrays, depth, head, novelty: { mean: kernel(depth), components: kernel(depth * description.novelty_components) } };
}

// Returns how unlike the training images an image is (stages/model/novelty.py): above 1, it is unlike them.
function noveltyOf(features, { mean, components }, threshold) {
  if (threshold === null) return 0;
  const length = Math.max(Math.hypot(...features), 2 ** -10), depth = features.length;
  const centred = features.map((x, n) => x / length - mean[n]);
  let rest = centred.reduce((sum, x) => sum + x * x, 0);
  for (let k = 0; k < components.length / depth; k++) {
    let product = 0;
    for (let n = 0; n < depth; n++) product += components[k * depth + n] * centred[n];
    rest -= product * product;
  }
  return Math.sqrt(Math.max(0, rest)) / threshold;
}

function softmax(logits) {
  const most = Math.max(...logits), powers = logits.map((x) => Math.exp(x - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((x) => x / sum);
}

// Returns what the model says about an image whose last feature maps, [places, depth], are given.
function classify(maps, description, { depth, head, novelty }) {
  const places = maps.length / depth, features = new Array(depth).fill(0), outputs = head.bias.length;
  for (let n = 0; n < maps.length; n++) features[n % depth] += maps[n] / places;
  const logits = Array.from(head.bias);
  for (let n = 0; n < depth; n++) for (let c = 0; c < outputs; c++) logits[c] += features[n] * head.kernel[n * outputs + c];
  const probabilities = softmax(outputs === 1 ? [0, logits[0]] : logits);
  const predicted = outputs === 1
    ? Number(probabilities[1] >= description.threshold)
    : probabilities.indexOf(Math.max(...probabilities));
  const set = outputs === 1 ? null : [...probabilities.keys()]
    .filter((c) => c === predicted || probabilities[c] >= description.set_threshold).sort((a, b) => probabilities[b] - probabilities[a]);
  // Grad-CAM of a network with one dense layer behind the pooling: its kernel weighs the feature maps (evaluation/gradcam.py).
  const heat = Array.from({ length: places }, (_, place) => {
    let sum = 0;
    for (let n = 0; n < depth; n++) {
      const weight = outputs === 1 ? head.kernel[n] * (predicted ? 1 : -1) : head.kernel[n * outputs + predicted];
      sum += maps[place * depth + n] * weight;
    }
    return Math.max(0, sum);
  });
  const most = Math.max(...heat);
  return {
    probabilities, predicted, set, novelty: noveltyOf(features, novelty, description.novelty_threshold),
    heat: heat.map((x) => (most ? x / most : 0)),
  };
}

// Loads the model, and returns a function from RGB pixels, [size, size, 3], to what `classify` returns.
//   tf: TensorFlow.js with its WebAssembly backend; wasm: the bytes of that.
async function load(tf, wasm, description, kernels, biases) {
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  tf.env().platform.fetch = async () => ({ ok: true, arrayBuffer: async () => wasm.buffer }); // nothing is fetched
  const names = ["tfjs-backend-wasm.wasm", "tfjs-backend-wasm-simd.wasm", "tfjs-backend-wasm-threaded-simd.wasm"];
  tf.wasm.setWasmPaths(Object.fromEntries(names.map((name) => [name, name])), true);
  if (!(await tf.setBackend("wasm"))) throw new Error("this browser does not run WebAssembly with SIMD");
  await tf.ready();
  const { layers, size } = description, unpacked = unpack(description, kernels, biases), tensors = unpacked.arrays.values();
  const computed = layers.map((layer) => {
    if (!layer.kernel) return layer;
    const { kernel, bias } = tensors.next().value;
    return { ...layer, filter: tf.tensor4d(kernel, layer.kernel), bias: tf.tensor1d(bias), activation: layer.relu6 ? "relu6" : "linear" };
  });
  const convolution = ([x], { filter, bias, strides, activation }) => ({ x, filter, bias, strides, activation, pad: "same" });
  const operations = {
    rescale: ([x], { scale, offset }) => tf.add(tf.mul(x, scale), offset),
    conv2d: (inputs, layer) => tf.fused.conv2d(convolution(inputs, layer)),
    depthwiseConv2d: (inputs, layer) => tf.fused.depthwiseConv2d(convolution(inputs, layer)),
    add: ([a, b]) => tf.add(a, b),
  };
  return (pixels) => {
    const maps = tf.tidy(() => {
      const values = [tf.tensor4d(Float32Array.from(pixels), [1, size, size, 3])];
      for (const layer of computed) values.push(operations[layer.op](layer.inputs.map((n) => values[n]), layer));
      return values.at(-1).dataSync();
    });
    return classify(maps, description, unpacked);
  };
}

return { bytesOf, fromHalf, triangles, square, unpack, noveltyOf, classify, load };
})();
